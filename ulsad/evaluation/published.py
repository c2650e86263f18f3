"""The paper's results for ULSAD (its Tables 6 to 20), in percent: mean and standard deviation of 5 seeds.

The standard deviation in a "mean" row is the root mean square of the categories' standard deviations, not the
variation of the mean between seeds. The paper does not say so, but its numbers show it.
"""

from __future__ import annotations

from typing import NamedTuple


class MeanStd(NamedTuple):
    mean: float
    std: float


class Published(NamedTuple):
    image_auroc: MeanStd
    pixel_auroc: MeanStd
    aupro: MeanStd


def _table(rows: str) -> dict[str, Published]:
    """Lines of a category and its image AUROC, pixel AUROC and AUPRO, each as mean±std."""
    table = {}
    for row in rows.strip().splitlines():
        name, *figures = row.split()
        table[name] = Published(*(MeanStd(*map(float, figure.split("±"))) for figure in figures))
    return table


ULSAD: dict[str, dict[str, Published]] = {
    # Tables 6, 7, 8
    "MVTec AD": _table("""
        bottle      100.00±0.00   96.21±2.21   90.16±3.24
        cable        97.92±0.18   97.71±0.06   88.63±0.48
        capsule      94.61±0.28   98.95±0.03   93.77±0.16
        carpet       98.50±0.17   99.18±0.06   96.39±0.24
        grid         92.67±1.20   95.47±1.09   83.30±3.96
        hazelnut     99.93±0.05   98.81±0.03   94.87±0.30
        leather     100.00±0.00   98.68±0.01   97.44±0.01
        metal_nut    98.88±0.07   97.62±0.03   91.58±0.19
        pill         96.17±0.39   96.67±0.09   94.50±0.08
        screw        95.20±0.15   99.33±0.01   96.45±0.10
        tile         99.99±0.02   95.78±0.05   87.82±0.15
        toothbrush  100.00±0.00   98.42±0.02   86.28±0.46
        transistor   97.65±0.57   98.89±0.05   91.61±0.68
        wood         98.81±0.23   95.20±0.31   91.34±0.29
        zipper       94.36±0.13   97.24±0.07   90.89±0.35
        mean         97.65±0.38   97.61±0.64   91.67±1.36
    """),
    # Tables 9, 10, 11
    "MVTec LOCO": _table("""
        breakfast_box         83.54±0.23   89.14±0.11   71.36±0.38
        juice_bottle          97.12±0.10   89.07±0.10   87.72±0.09
        pushpins              86.85±0.94   75.64±0.36   68.34±0.55
        screw_bag             70.71±1.49   71.35±0.12   66.52±0.33
        splicing_connectors   82.30±0.72   75.10±0.20   74.70±0.25
        mean                  84.10±0.86   80.06±0.20   73.73±0.35
    """),
    # Tables 12, 13, 14
    "MPDD": _table("""
        tubes           93.39±0.57   98.55±0.10   94.33±0.33
        metal_plate     93.81±0.28   96.77±0.09   90.07±0.22
        connector       96.00±0.82   99.40±0.18   97.98±0.60
        bracket_white  100.00±0.00   98.73±0.10   95.33±0.37
        bracket_black   93.09±0.32   97.43±0.21   90.17±0.67
        bracket_brown   98.08±0.14   93.83±2.41   84.24±6.38
        mean            95.73±0.45   97.45±0.99   92.02±2.64
    """),
    # Tables 15, 16, 17. The printed mean pixel AUROC, 96.73, is 96.72 by the three figures above it
    "BTAD": _table("""
        01    100.00±0.00   95.86±0.03   72.88±0.12
        02     88.50±0.78   94.76±0.88   55.16±6.83
        03    100.00±0.00   99.55±0.02   98.18±0.08
        mean   96.17±0.45   96.73±0.51   75.41±3.95
    """),
    # Tables 18, 19, 20
    "VisA": _table("""
        candle       87.11±0.29   97.77±0.03   92.49±0.15
        capsules     79.61±0.72   98.31±0.31   82.76±1.18
        cashew       94.72±0.16   99.49±0.02   91.85±1.15
        chewinggum   99.49±0.12   98.10±0.41   84.34±1.00
        fryum        95.86±0.14   97.38±0.19   85.47±0.66
        macaroni1    90.66±0.76   99.00±0.13   92.80±0.74
        macaroni2    82.84±1.05   98.20±0.28   88.29±1.89
        pcb1         92.92±0.11   99.61±0.01   90.22±0.28
        pcb2         93.67±0.18   98.03±0.09   84.53±0.53
        pcb3         93.62±0.16   98.45±0.05   85.86±0.38
        pcb4         99.43±0.03   95.22±0.27   73.37±0.81
        pipe_fryum   99.61±0.11   99.29±0.03   93.49±0.08
        mean         92.46±0.45   98.24±0.20   87.12±0.89
    """),
}
