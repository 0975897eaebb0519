"""A state is a value: keep one per sensor, feed readings as they come, in any order."""

import torch

from throughtime import LSTM, select, state

torch.manual_seed(0)
layer = LSTM(input_size=1, hidden_size=8).eval()
readings = torch.randn(3, 20, 1)  # three sensors, twenty readings each

with torch.inference_mode():
    whole, _ = layer(readings)

    sessions = [layer.initial_state(1) for _ in range(3)]
    answers: list[list[torch.Tensor]] = [[], [], []]
    for time in range(20):
        for sensor in (2, 0, 1):  # they report in their own order
            output, sessions[sensor] = layer(readings[sensor, None, time, None], sessions[sensor])
            answers[sensor].append(output[0, 0])

    # Or all at once: sessions are rows, so they can be joined and picked apart again.
    together = state.concatenate(sessions)
    first_again = select(together, [0])

streamed = torch.stack([torch.stack(rows) for rows in answers])
print("largest difference to the whole run:", f"{(streamed - whole).abs().max():.1e}")
print("one session is", state.nbytes(first_again), "bytes")
