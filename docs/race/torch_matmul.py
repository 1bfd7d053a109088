"""The rate of the vendor's matrix product in full f32, by way of PyTorch.

    python torch_matmul.py [EDGE ...]

A line for each cube: the median of five series of products that fill about 50 ms each.
"""
import statistics, sys, time
import torch

torch.backends.cuda.matmul.allow_tf32 = False
edges = [int(edge) for edge in sys.argv[1:]] or [512, 1024, 2048, 4096, 8192]
print("torch", torch.__version__, "on", torch.cuda.get_device_name())


def seconds(a, b, rounds):
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(rounds):
        a @ b
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / rounds


for edge in edges:
    a, b = torch.rand(2, edge, edge, device="cuda")
    seconds(a, b, 3)
    rounds = max(1, int(0.05 / seconds(a, b, 3)))
    median = statistics.median(seconds(a, b, rounds) for _ in range(5))
    print(f"{edge:6} {2 * edge**3 / median / 1e9:10.1f} GFLOP/s")
