"""Files of `parity export` against PyTorch in float64, and with mistakes that kernels are written with.

Written from the papers' equations, not from the program. For each file one line of JSON: the worst error of
output and gradients, and the same of every mistake that makes sense for the file's connection.
"""

import itertools, json, math, struct, sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def load(path):
    raw = open(path, "rb").read()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    config = json.loads(header.pop("__metadata__")["config"])
    tensors = {}
    for name, at in header.items():
        start, end = (8 + length + offset for offset in at["data_offsets"])
        values = torch.frombuffer(bytearray(raw[start:end]), dtype=torch.float32)
        tensors[name] = values.double().reshape(at["shape"])
    return tensors, config


def norm(kind, x, weight, bias, eps, wrong):
    if kind == "none":
        return x
    if kind == "layernorm" and wrong != "norm not centred":
        x = x - x.mean(-1, keepdim=True)
    squares = x.square()
    squares = squares.sum(-1, keepdim=True) if wrong == "sum of squares for their mean" else squares.mean(-1, keepdim=True)
    x = x / (squares.sqrt() + eps) if wrong == "eps outside the root" else x / (squares + (0 if wrong == "no eps" else eps)).sqrt()
    if wrong == "norm without weight":
        weight = torch.ones_like(weight)
    return x * weight + (0 if bias is None else bias)


def slots(p, c, x, eps, tau, wrong):
    """alpha [.., n, reads + n], beta [.., n, reads]"""
    alpha, beta = p["static_alpha"], p["static_beta"].reshape(p["static_alpha"].shape[0], -1)
    if c["dynamic"]:
        normed = norm(c["norm"], x, p.get("norm.weight"), p.get("norm.bias"), eps, wrong)
        squash = torch.tanh if c["tanh"] and wrong != "no tanh" else lambda z: z
        if wrong == "tanh after the scale":
            squash = lambda z: z
        fn = p["dynamic_beta_fn"].reshape(x.shape[-1], -1)
        tau = 1 if wrong == "no 1/sqrt of the width" else tau
        a = p["dynamic_alpha_scale"] * squash(normed @ p["dynamic_alpha_fn"] / tau)
        b = p["dynamic_beta_scale"].reshape(-1, fn.shape[1]) * squash(normed @ fn / tau)
        if wrong == "tanh after the scale":
            a, b = a.tanh(), b.tanh()
        alpha, beta = alpha + a, beta + b
    return alpha, beta


def sinkhorn(z, iterations, wrong):
    m = z.exp()
    first, second = (-1, -2) if wrong == "rows before columns" else (-2, -1)
    for _ in range(iterations - (wrong == "one iteration too few")):
        m = m / m.sum(first, keepdim=True)
        m = m / m.sum(second, keepdim=True)
    return m


def mix(kind, c, z, n, wrong):
    if kind == "mhc":
        return sinkhorn(z.unflatten(-1, (n, n)), c["sinkhorn_iters"], wrong)
    if kind == "mhc_lite":
        orders = list(itertools.permutations(range(n)))
        if wrong == "permutations in reverse":
            orders.reverse()
        eye = torch.eye(n)
        matrices = torch.stack([eye[list(q)] for q in orders])
        return torch.einsum("...q,qij->...ij", z.softmax(-1), matrices)
    if kind == "krom_hc":
        h = torch.ones(*z.shape[:-1], 1, 1)
        pairs = z.unflatten(-1, (-1, 2)).softmax(-1).unbind(-2)
        for pair in reversed(pairs) if wrong == "factors in reverse" else pairs:
            u = torch.stack([pair, pair.flip(-1)], -2)
            size = h.shape[-1] * 2
            h = torch.einsum("...ij,...kl->...ikjl", h, u).reshape(*h.shape[:-2], size, size)
        return h
    if kind == "ohc":
        unit = lambda q: (q / q.norm(dim=-1, keepdim=True)).unbind(-1)
        (a, b, c, d), (e, f, g, h) = (unit(q) for q in z.unflatten(-1, (2, 4)).unbind(-2))
        left = [[a, -b, -c, -d], [b, a, -d, c], [c, d, a, -b], [d, -c, b, a]]
        right = [[e, -f, -g, -h], [f, e, h, -g], [g, -h, e, f], [h, g, -f, e]]
        left, right = (torch.stack([torch.stack(row, -1) for row in m], -2) for m in (left, right))
        return left @ right
    s = torch.zeros(*z.shape[:-1], n, n)
    above = torch.triu_indices(n, n, 1)
    s[..., above[0], above[1]] = z
    s = s - s.mT
    eye = torch.eye(n)
    if kind == "cayley":
        return torch.linalg.inv(eye - s) @ (eye + s)
    h = eye + 2 * s
    for _ in range(c["iterations"]):
        h = eye + s @ (eye + h)
    return h


def constrained(p, c, x, eps, wrong):
    """H_pre [.., n], H_post [.., n], H_res [.., n, n], rows of which are destinations"""
    kind, n = c["type"], x.shape[-2]
    flat = x if wrong == "norm of each stream" else x.flatten(-2)
    weight = p["norm.weight"].reshape(flat.shape[-2:]) if wrong == "norm of each stream" else p["norm.weight"]
    flat = norm("layernorm" if kind == "jpmhc" else "rmsnorm", flat, weight, None, eps, wrong)
    flat = flat.flatten(-2) if wrong == "norm of each stream" else flat
    families = {}
    for name in ("pre", "post", "res"):
        if f"phi_{name}" in p:
            z = flat @ p[f"phi_{name}"]
            if kind != "jpmhc":
                scale = 1 if wrong == "no scale of the logits" else p[f"alpha_{name}"]
                z = scale * z + p[f"bias_{name}"].flatten()
            families[name] = z
    pre, post = families["pre"], families["post"]
    if kind == "jpmhc":
        pre = pre.unflatten(-1, (n, n)).softmax(-1).mean(-2)
        post = post.unflatten(-1, (n, n)).softmax(-1).sum(-2)
        families["res"] = families["res"] * c["step"] / 2
    else:
        pre, post = pre.sigmoid(), post.sigmoid() * (1 if wrong == "no 2 before the write's sigmoid" else 2)
    if "res" not in families:
        return pre, post, torch.eye(n).expand(*pre.shape, n)
    h = mix(kind, c, families["res"], n, wrong)
    return pre, post, h.mT if wrong == "transposed mix" else h


def deepseek_v4(p, c, x, eps, wrong):
    """pre [.., n], post [.., n], comb [.., n, n], rows of which are sources"""
    n, hc_eps = x.shape[-2], c["hc_eps"]
    z = norm("rmsnorm", x.flatten(-2), 1, None, hc_eps if wrong == "hc_eps in the norm" else eps, None) @ p["fn"].T
    scale = torch.cat([p["scale"][:1].expand(n), p["scale"][1:2].expand(n), p["scale"][2:].expand(n * n)])
    z = z * scale + p["base"]
    pre = z[..., :n].sigmoid() + (0 if wrong == "no eps of the read" else hc_eps)
    comb = z[..., 2 * n :].unflatten(-1, (n, n)).softmax(-1) + hc_eps
    dims = [-2] + [-1, -2] * (c["sinkhorn_iters"] - 1)
    for dim in dims + [-1] if wrong == "rows last" else dims:
        comb = comb / (comb.sum(dim, keepdim=True) + (0 if wrong == "no eps of the divisors" else hc_eps))
    return pre, 2 * z[..., n : 2 * n].sigmoid(), comb.mT if wrong == "transposed mix" else comb


def gated(p, x, eps):
    """what the sublayer reads, and the writes [.., n]"""
    n = x.shape[-2]
    normed = norm("rmsnorm", x, 1 + p["norm.weight"].reshape(n, -1), None, eps, None)
    gates = (F.silu(normed.flatten(-2) @ p["down.weight"].T / n) @ p["up.weight"].T).sigmoid()
    return (gates.unflatten(-1, (n, -1)) * normed).mean(-2), 2 * (normed.flatten(-2) @ p["inject.weight"].T / n).sigmoid()


def after(p, c, config, x, memory, layer, wrong):
    """The state after the sublayer; what is carried beside it is changed in place."""
    kind, eps = c["type"], config["eps"]
    if kind in ("mhc_v4", "single_pass_mhc"):
        pre, post, comb = deepseek_v4(p, c, x, eps, wrong)
        if kind == "single_pass_mhc" and wrong != "read of this sublayer":
            memory[0], pre = pre.unsqueeze(-1), memory[0].squeeze(-1)
        y = layer(torch.einsum("...i,...id->...d", pre, x))
        return comb.mT @ x + post.unsqueeze(-1) * y.unsqueeze(-2)
    if kind == "two_lane":
        lane = config["sublayer_index"] % 2
        y = layer(x[..., 1 - lane if wrong == "the other lane" else lane, :])
        return p["lane_gain"][:, None] * x + p["lane_write"][:, None] * y.unsqueeze(-2)
    if kind == "delta_attention_residual":
        sources = torch.stack(memory, -2)
        keys = sources if wrong == "keys without their norm" else norm("rmsnorm", sources, 1, None, eps, wrong)
        shares = (keys @ p["query"]).softmax(-1)
        read = (shares.unsqueeze(-1) * sources).sum(-2)
        y = layer(read if wrong == "no state in the read" else x + read)
        memory.append(y)
        return x + y
    if kind == "gated_residual":
        u, post = gated(p, x, eps)
        return x + post.unsqueeze(-1) * layer(u).unsqueeze(-2)
    if kind == "deep_delta":
        u = (p["read"] * x).sum(-2) if "read" in p else x.squeeze(-2)
        k = layer(u)
        k = k / (k.square().sum(-1, keepdim=True) + 1e-10).sqrt()
        beta = 2 * F.linear(u, p["beta.weight"], p["beta.bias"]).sigmoid()
        v = 4 * F.linear(u, p["value.weight"], p["value.bias"]).sigmoid()
        error = v - torch.einsum("...d,...nd->...n", k, x)
        return x + (beta * error).unsqueeze(-1) * k.unsqueeze(-2)
    if kind == "pre_norm":
        return x + layer(x)
    if kind == "rezero":
        return x + p["alpha"] * layer(x)
    if kind == "layer_scale":
        return x + p["lambda"] * layer(x)
    if kind == "highway":
        t = torch.sigmoid(F.linear(x, p["gate.weight"], p["gate.bias"]))
        return t * layer(x) + (1 - t) * x
    if kind == "altup":
        predicted = torch.einsum("ji,...jd->...id", p["prediction"], x)
        s = config["sublayer_index"] % c["blocks"]
        block = x[..., s, :]
        error = block + layer(block) - predicted[..., s, :]
        return predicted + p["correction"][:, None] * error.unsqueeze(-2)
    if kind in ("hyper", "frac", "virtual_width"):
        n = {"hyper": "rate", "frac": "fractions", "virtual_width": "slots"}[kind]
        n, m = c[n], 1 if kind == "hyper" else c["fractions"]
        h = x if kind == "hyper" else x.unflatten(-1, (n, -1))
        tau = (c.get("tau") or math.sqrt(h.shape[-1])) if kind == "virtual_width" else 1
        alpha, beta = slots(p, c, h, eps, tau, wrong)
        if c.get("delayed_reads") and wrong != "read of this sublayer":
            read, memory[0] = memory[0], alpha[..., :1].expand(*h.shape[:-1], 1)
            alpha = torch.cat([read, alpha[..., 1:].expand(*h.shape[:-1], n)], -1)
        carried = alpha[..., m:] @ h if wrong == "transposed mix" else alpha[..., m:].mT @ h
        y = layer((alpha[..., :m].mT @ h).flatten(-2)).unflatten(-1, (m, -1))
        if wrong == "write before the mix":
            return alpha[..., m:].mT @ (h + beta @ y)
        if kind == "frac":
            return (carried + beta * y).flatten(-2)
        after = carried + beta @ y
        return after if kind == "hyper" else after.flatten(-2)
    pre, post, h = constrained(p, c, x, eps, wrong)
    if "write_gain" in p and wrong != "no gain of the write":
        post = p["write_gain"] * post
    y = layer(torch.einsum("...i,...id->...d", pre, x))
    return h @ x + post.unsqueeze(-1) * y.unsqueeze(-2)


def worst(path, wrong=None):
    """The largest error of output and of gradients, by the rule of the page's table."""
    tensors, config = load(path)
    param = {n.removeprefix("param."): t.clone().requires_grad_() for n, t in tensors.items() if n.startswith("param.")}
    own = {n.removeprefix("connection."): t for n, t in param.items()}
    inputs = {n.removeprefix("input."): t for n, t in tensors.items() if n.startswith("input.")}
    hidden = inputs["hidden"].clone().requires_grad_()
    carried = {n: t.clone().requires_grad_() for n, t in inputs.items() if n.startswith("memory.")}
    memory = [carried[f"memory.{j}"] for j in range(len(carried))]
    approximate = "tanh" if wrong == "gelu by tanh" else "none"
    layer = lambda x: F.gelu(x @ param["sublayer.weight"].T, approximate=approximate)
    output = after(own, config["connection"], config, hidden, memory, layer, wrong)
    products = [output * inputs["output_cotangent"]]
    products += [x * inputs[f"memory_cotangent.{j}"] for j, x in enumerate(memory)]
    sum(x.sum() for x in products).backward()
    leaves = {"hidden": hidden} | carried | param
    grads = {n: torch.zeros_like(t) if t.grad is None else t.grad for n, t in leaves.items()}
    for name in grads:
        if name.endswith(("static_alpha", "dynamic_alpha_fn")):
            grads[name][..., frozen_columns(config["connection"])] = 0
    # What does not learn has no gradient in the file.
    grads = {n: t for n, t in grads.items() if f"grad.{n}" in tensors}
    expected = {name: tensors[f"grad.{name}"] for name in grads}
    floor = 0.01 * max(t.abs().max() for t in expected.values())
    # NaN is an error too, and JSON has none.
    error = lambda a, b, floor: ((a - b).abs().max() / b.abs().max().clamp(min=floor)).nan_to_num(1e30).item()
    of_grads = max(error(grads[n], expected[n], floor) for n in grads)
    outputs = [(output, tensors["expect.hidden"])]
    outputs += [(x, tensors[f"expect.memory.{j}"]) for j, x in enumerate(memory)]
    return max(error(got, expected, 0.0) for got, expected in outputs), of_grads


def frozen_columns(c):
    """The columns of [A_m | A_r] that keep their values although others learn."""
    read, mix = ("read" in c.get("frozen", []), "mix" in c.get("frozen", []))
    return [] if read == mix else [0] if read else list(range(1, c["rate"] + 1))


SLOTS = ["norm not centred", "sum of squares for their mean", "eps outside the root", "no eps", "norm without weight"]
MISTAKES = {
    "hyper": ["transposed mix", "write before the mix", "gelu by tanh"],
    "frac": ["transposed mix"],
    "virtual_width": ["transposed mix", "no 1/sqrt of the width"],
    "mhc": ["rows before columns", "one iteration too few"],
    "mhc_lite": ["permutations in reverse"],
    "krom_hc": ["factors in reverse"],
    "mhc_v4": ["transposed mix", "rows last"],
    "single_pass_mhc": ["transposed mix", "rows last", "read of this sublayer"],
    "two_lane": ["the other lane"],
    "delta_attention_residual": ["keys without their norm", "no state in the read", "no eps"],
}
FAMILY = ["norm of each stream", "no scale of the logits", "no 2 before the write's sigmoid"]


def mistakes(c):
    kind = c["type"]
    some = list(MISTAKES.get(kind, []))
    if kind in ("hyper", "frac", "virtual_width"):
        some += ["read of this sublayer"] if c.get("delayed_reads") else []
        if c["dynamic"]:
            some += ["tanh after the scale", "no tanh"] if c["tanh"] else []
            if c["norm"] != "none":
                some += SLOTS[0 if c["norm"] == "layernorm" else 1 :]
    elif kind in ("mhc_v4", "single_pass_mhc") and c["hc_eps"] > 1e-4:
        some += ["hc_eps in the norm", "no eps of the read", "no eps of the divisors"]
    elif kind in ("mhc", "mhc_lite", "krom_hc", "identity_hc", "cayley", "ohc", "jpmhc"):
        some += SLOTS[0 if kind == "jpmhc" else 1 :]
        some += FAMILY if kind != "jpmhc" else []
        some += ["no gain of the write"] if c.get("write_gain_end", 1) != 1 else []
        # The mix of KromHC is symmetric.
        some += [] if kind in ("krom_hc", "identity_hc") else ["transposed mix"]
    if c.get("rate") == 1:
        some.remove("transposed mix")
    return some


for path in sys.argv[1:]:
    c = load(path)[1]["connection"]
    wrong = {mistake: worst(path, mistake) for mistake in mistakes(c)}
    print(json.dumps({"file": path, "type": c["type"], "error": worst(path), "wrong": wrong}))
