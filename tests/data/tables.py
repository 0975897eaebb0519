"""Tables in text that several tests read."""

import numpy as np


def hourly(values, begin="2020-01-01"):
    times = np.datetime64(begin, "s") + np.arange(len(values)) * np.timedelta64(1, "h")
    lines = [
        f"{str(time).replace('T', ' ')},{value}" for time, value in zip(times, values, strict=True)
    ]
    return "date,y\n" + "\n".join(lines) + "\n"


LONG = """store,day,sold,promo,price,kind,area
A,2020-01-01,1,0,2.5,big,10
A,2020-01-02,2,1,2.5,big,10
B,2020-01-02,5,0,3.5,small,7
B,2020-01-03,,1,3.5,small,7
B,2020-01-04,7,0,3.0,small,7
B,2020-01-05,,1,,small,7
"""
