"""A network trained by `experiments`, in plain PyTorch: docs/pytorch.md says what each part is.

    network = load("model.safetensors")
    logits = network(tokens)                # [batch, seq] of a decoder; of a classifier, images
    save(network, "model.safetensors")      # for `experiments import`

`python model.py` computes the loss of validation.safetensors in float64.
"""

import ctypes
import json
import os
import sys

import torch
from torch import nn
from torch.nn import functional as F

FOLDER = os.path.dirname(os.path.abspath(__file__))


class Norm(nn.Module):
    """Layer norm or RMS norm over the last dimension, `eps` under the root."""

    def __init__(self, kind, width, eps):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width)) if kind != "none" else None
        self.bias = nn.Parameter(torch.zeros(width)) if kind == "layernorm" else None

    def forward(self, x):
        if self.weight is None:
            return x
        if self.bias is not None:
            return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        return x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt() * self.weight


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim, self.heads = config["dim"], config["heads"]
        self.q, self.k, self.v, self.o = (linear(dim, dim) for _ in range(4))
        self.causal = config["type"] == "transformer"
        self.theta = config.get("rope_theta")
        eps = config["norm"]["eps"]
        self.q_norm, self.k_norm = (
            Norm("rmsnorm" if config["qk_norm"] else "none", dim, eps) for _ in range(2)
        )

    def rotated(self, x):
        """x: [batch, heads, seq, width]; position t turns the pair (x_i, x_{i + width/2})."""
        if not self.causal:
            return x
        seq, half = x.shape[-2], x.shape[-1] // 2
        exponents = torch.arange(half, dtype=torch.float64, device=x.device) / half
        positions = torch.arange(seq, dtype=torch.float64, device=x.device)
        angles = positions[:, None] * self.theta**-exponents
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        low, high = x[..., :half], x[..., half:]
        return torch.cat((low * cos - high * sin, high * cos + low * sin), -1)

    def forward(self, x):
        q, k, v = self.q_norm(self.q(x)), self.k_norm(self.k(x)), self.v(x)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, k, v))
        q, k = self.rotated(q), self.rotated(k)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.o(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU, `down(silu(gate x) * up x)`, or GELU, `down(gelu(up x))`."""

    def __init__(self, config):
        super().__init__()
        dim, hidden = config["dim"], config["ffn"]["hidden"]
        self.gate = linear(dim, hidden) if config["ffn"]["type"] == "swiglu" else None
        self.up, self.down = linear(dim, hidden), linear(hidden, dim)

    def forward(self, x):
        up = self.up(x)
        return self.down(F.gelu(up) if self.gate is None else F.silu(self.gate(x)) * up)


class Weight(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))


class Mixture(nn.Module):
    """The `top_k` most probable SwiGLU experts, weighted with their probabilities as they are. The
    losses of the router, which only training has, are not here."""

    def __init__(self, config):
        super().__init__()
        dim, ffn = config["dim"], config["ffn"]
        experts, hidden, self.top_k = ffn["experts"], ffn["hidden"], ffn["top_k"]
        self.router = linear(dim, experts)
        self.experts = nn.ModuleDict(
            {
                "gate": Weight(experts, hidden, dim),
                "up": Weight(experts, hidden, dim),
                "down": Weight(experts, dim, hidden),
            }
        )

    def forward(self, x):
        probabilities, chosen = self.router(x).softmax(-1).topk(self.top_k, -1)
        gate, up, down = (self.experts[name].weight for name in ("gate", "up", "down"))
        y = torch.zeros_like(x)
        for expert in range(len(gate)):
            share = (probabilities * (chosen == expert)).sum(-1)
            here = share > 0
            tokens = x[here]
            hidden = F.silu(tokens @ gate[expert].T) * (tokens @ up[expert].T)
            y[here] += share[here].unsqueeze(-1) * (hidden @ down[expert].T)
        return y


class PreNorm(nn.Module):
    def __init__(self, config, index):
        super().__init__()

    def expand(self, x):
        return x, None

    def forward(self, state, sublayer):
        state, _ = state
        return state + sublayer(state), None

    def reduce(self, state):
        return state[0]


class Head(nn.Module):
    """The learned end of n streams, `sum_i w_i H_i` with `w = sigmoid(s RMSNorm(vec H) phi + b) + 1e-6`."""

    def __init__(self, streams, dim, eps):
        super().__init__()
        self.phi = nn.Parameter(torch.zeros(streams * dim, streams))
        self.scale = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(streams))
        self.eps = eps

    def forward(self, streams):
        x = streams.flatten(-2)
        x = x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()
        weights = torch.sigmoid(self.scale * (x @ self.phi) + self.bias) + 1e-6
        return (weights.unsqueeze(-1) * streams).sum(-2)


class HyperConnection(nn.Module):
    """Streams H [.., n, d]: read h0 = A_m^T H, mix H' = A_r^T H, write H' + B^T T(h0) (Zhu et al., Hyper-
    Connections, ICLR 2025). Row: source stream, column: destination. The state is H and, where reads are
    delayed, the A_m of the sublayer before."""

    def __init__(self, config, index):
        super().__init__()
        dim, c, eps = config["dim"], config["connection"], config["norm"]["eps"]
        n, self.dynamic, self.tanh = c["rate"], c["dynamic"], c["tanh"]
        self.rate, self.reduction = n, c["reduction"]
        self.delayed = c.get("delayed_reads", False)
        self.static_alpha = nn.Parameter(torch.zeros(n, n + 1))  # [A_m | A_r]
        self.static_beta = nn.Parameter(torch.ones(n))
        if self.dynamic:
            self.dynamic_alpha_fn = nn.Parameter(torch.zeros(dim, n + 1))
            self.dynamic_beta_fn = nn.Parameter(torch.zeros(dim))
            self.dynamic_alpha_scale = nn.Parameter(torch.zeros(1))
            self.dynamic_beta_scale = nn.Parameter(torch.zeros(1))
            self.norm = Norm(c["norm"], dim, eps)
        scaled = index == 0 and c.get("expansion") == "learned_scale"
        self.stream_scale = nn.Parameter(torch.zeros(n, dim)) if scaled else None
        last = index == 2 * config["layers"] - 1
        self.head = Head(n, dim, eps) if last and self.reduction == "sigmoid_head" else None
        self.freeze(c["frozen"])

    def freeze(self, parts):
        """Frozen parts stay as they are: A_m is column 0 of alpha, A_r are the others."""
        moving = torch.ones(self.rate + 1)
        if "read" in parts:
            moving[0] = 0
        if "mix" in parts:
            moving[1:] = 0
        for name, parameter in self.named_parameters():
            if "alpha" in name and "scale" not in name:
                parameter.register_hook(lambda grad: grad * moving.to(grad))
            of_width, of_write = "alpha" in name, "beta" in name
            frozen = "dynamic" in parts and name.startswith(("dynamic", "norm"))
            frozen |= of_width and not moving.any() or of_write and "write" in parts
            frozen |= name.startswith("norm") and not moving.any() and "write" in parts
            parameter.requires_grad_(not frozen)

    def expand(self, x):
        x = x.unsqueeze(-2)
        if self.stream_scale is not None:
            streams = x * (0.6 + self.stream_scale)
        else:
            streams = x.expand(*x.shape[:-2], self.rate, -1)
        return streams, torch.eye(self.rate).to(x)[0]

    def forward(self, state, sublayer):
        streams, read_before = state
        alpha, beta = self.static_alpha, self.static_beta
        if self.dynamic:
            normed = self.norm(streams)
            squash = torch.tanh if self.tanh else lambda z: z
            alpha = alpha + self.dynamic_alpha_scale * squash(normed @ self.dynamic_alpha_fn)
            beta = beta + self.dynamic_beta_scale * squash(normed @ self.dynamic_beta_fn)
        read, mix = alpha[..., 0], alpha[..., 1:]
        weights = (read_before if self.delayed else read).unsqueeze(-1)
        output = sublayer((weights * streams).sum(-2))
        return mix.transpose(-1, -2) @ streams + beta.unsqueeze(-1) * output.unsqueeze(-2), read

    def reduce(self, state):
        streams, _ = state
        if self.head is not None:
            return self.head(streams)
        return streams.sum(-2) if self.reduction == "sum" else streams.mean(-2)


class Block(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        norm = config["norm"]
        connection = {"pre_norm": PreNorm, "hyper": HyperConnection}[config["connection"]["type"]]
        self.attn_norm, self.ffn_norm = (
            Norm(norm["type"], config["dim"], norm["eps"]) for _ in range(2)
        )
        self.attn = Attention(config)
        self.ffn = (Mixture if config["ffn"]["type"] == "moe" else FeedForward)(config)
        self.attn_connection = connection(config, 2 * index)
        self.ffn_connection = connection(config, 2 * index + 1)
        self.dropout = nn.Dropout(config.get("dropout", 0.0))

    def forward(self, state):
        attend = lambda h: self.dropout(self.attn(self.attn_norm(h)))
        feed = lambda h: self.dropout(self.ffn(self.ffn_norm(h)))
        return self.ffn_connection(self.attn_connection(state, attend), feed)


class Network(nn.Module):
    """A decoder, [batch, seq] tokens to logits, or a classifier, [batch, channels, side, side] normalised
    images to logits."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        dim, norm = config["dim"], config["norm"]
        if config["type"] == "transformer":
            self.embed = Weight(config["vocab_size"], dim)
            tied = config["tied_embeddings"]
            self.head = None if tied else linear(dim, config["vocab_size"])
        else:
            patch, self.pool = config["patch"], config["pool"]
            patches = (config["image"] // patch) ** 2
            self.patch_embed = nn.Linear(config["channels"] * patch * patch, dim)
            self.cls_token = nn.Parameter(torch.zeros(dim)) if self.pool == "cls" else None
            self.pos_embed = nn.Parameter(torch.zeros(patches + (self.pool == "cls"), dim))
            self.dropout = nn.Dropout(config["dropout"])
            self.head = nn.Linear(dim, config["classes"])
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config["layers"]))
        self.final_norm = Norm(norm["type"], dim, norm["eps"])

    def trunk(self, x):
        state = self.blocks[0].attn_connection.expand(x)
        for block in self.blocks:
            state = block(state)
        return self.final_norm(self.blocks[-1].ffn_connection.reduce(state))

    def forward(self, inputs):
        if self.config["type"] == "transformer":
            x = self.trunk(self.embed.weight[inputs])
            return x @ self.embed.weight.T if self.head is None else self.head(x)
        patch = self.config["patch"]
        # A patch runs by channel, row and column.
        x = self.patch_embed(F.unfold(inputs, patch, stride=patch).transpose(1, 2))
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(len(x), 1, -1), x), 1)
        x = self.trunk(self.dropout(x + self.pos_embed))
        return self.head(x[:, 0] if self.pool == "cls" else x.mean(1))


def read(path):
    """The tensors of a safetensors file and its metadata."""
    with open(path, "rb") as file:
        raw = file.read()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    metadata = header.pop("__metadata__", {})
    types = {"F32": torch.float32, "I32": torch.int32}
    tensors = {}
    for name, about in header.items():
        first, end = about["data_offsets"]
        data = bytearray(raw[start + first : start + end])
        tensors[name] = torch.frombuffer(data, dtype=types[about["dtype"]]).reshape(about["shape"])
    return tensors, metadata


def load(path=os.path.join(FOLDER, "model.safetensors")):
    """The network of a file of weights, ready to compute."""
    tensors, metadata = read(path)
    network = Network(json.loads(metadata["config"]))
    network.load_state_dict(tensors)
    return network.eval()


def save(network, path=os.path.join(FOLDER, "model.safetensors")):
    """Writes the weights, in float32, with the configuration in the header."""
    metadata = {"format_version": "1", "config": json.dumps(network.config)}
    header, data = {"__metadata__": metadata}, bytearray()
    for name, tensor in network.state_dict().items():
        start = len(data)
        flat = tensor.detach().cpu().float().contiguous()
        data += ctypes.string_at(flat.data_ptr(), 4 * flat.numel())
        offsets = [start, len(data)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


@torch.no_grad()
def validate(network, path=os.path.join(FOLDER, "validation.safetensors"), rows=64):
    """The mean loss in nats over the validation data of the run, and the run's own."""
    tensors, metadata = read(path)
    inputs, targets = tensors["inputs"], tensors["targets"].long()
    inputs = inputs.double() if inputs.is_floating_point() else inputs.long()
    total = 0.0
    for part, target in zip(inputs.split(rows), targets.split(rows)):
        logits = network(part)
        total += F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="sum").item()
    return total / targets.numel(), float(metadata.get("loss", "nan"))


if __name__ == "__main__":
    loss, of_run = validate(load().double())
    print(f"here {loss:.7f}, the run {of_run:.7f}, difference {loss - of_run:.1e}")
    # Nothing to compare with if the run had not ended; NaN is a difference.
    sys.exit(of_run == of_run and not abs(loss - of_run) <= 1e-5)
