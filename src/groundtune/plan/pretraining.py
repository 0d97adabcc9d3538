"""Compute and money of training from scratch, from two numbers: parameters N and tokens D.

A training step takes about 6 N floating-point operations a token (Kaplan et al., "Scaling Laws for Neural Language Models",
2020, section 2.1: 2 N forward, 4 N backward; attention scores left out). Divided by what an accelerator really reaches,
its peak times the model FLOPs utilization (MFU; Chowdhery et al., PaLM, 2022, appendix B), that is time; by the hour, money.
Leaves out failed runs, data, evaluation and staff. Time on this machine is measured, not estimated: ``measure``.
"""

from __future__ import annotations

from dataclasses import dataclass

#: tokens a parameter of a compute-optimal run (Hoffmann et al., Chinchilla, 2022, table 3: 1.4T tokens for 67B)
OPTIMAL_TOKENS = 20


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What the work runs on, and at which price.

    Attributes:
        teraflops: peak, 10^12 floating-point operations a second.
        utilization: MFU, share of the peak that the model's own operations reach.
        usd_per_hour: price of one.
    """

    teraflops: float = 312.0
    utilization: float = 0.5
    usd_per_hour: float = 1.5

    def __str__(self) -> str:
        return f"{self.teraflops:g} TFLOP/s x {self.utilization:.0%}, ${self.usd_per_hour:.2f} an hour"


#: an A100 in bf16 (NVIDIA's data sheet: 312 TFLOP/s), well used, at the lesson's price
A100 = Accelerator()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run takes.

    Attributes:
        flops: floating-point operations.
        accelerator_hours: hours of one accelerator.
        usd: price of those.
    """

    flops: float
    accelerator_hours: float
    usd: float


@dataclass(frozen=True, slots=True)
class LessonRow:
    """A row of the lesson's table: billions of parameters and of tokens, the printed dollars, the MFU that gives them."""

    model: str
    parameters_billion: float
    tokens_billion: float
    printed_usd: int
    utilization: float = 0.5


#: printed in a public lesson of 2023 on building language models from zero; its prices need the two utilizations given here
LESSON = (
    LessonRow("MosaicML GPT-30B", 30, 610, 325_855, 0.45),
    LessonRow("Google LaMDA", 137, 168, 368_846),
    LessonRow("Yandex YaLM", 100, 300, 480_769),
    LessonRow("Zhipu.AI GLM", 130, 400, 833_333),
    LessonRow("OpenAI GPT-3", 175, 300, 841_346),
    LessonRow("AI21 Jurassic", 178, 300, 855_769),
    LessonRow("Bloom", 176, 366, 1_033_756),
    LessonRow("DeepMind Gopher", 280, 300, 1_346_154),
    LessonRow("DeepMind Chinchilla", 70, 1400, 1_745_014, 0.45),
    LessonRow("MosaicML GPT-70B", 70, 1400, 1_745_014, 0.45),
    LessonRow("Nvidia Microsoft MT-NLG", 530, 270, 2_293_369),
    LessonRow("Google PaLM", 540, 780, 6_750_000),
)


def training_flops(parameters: float, tokens: float) -> float:
    """Floating-point operations of training: 6 N D."""
    return 6.0 * parameters * tokens


def pretraining_cost(parameters: float, tokens: float, accelerator: Accelerator = A100) -> Cost:
    """Compute, hours and dollars of training ``parameters`` on ``tokens``."""
    flops = training_flops(parameters, tokens)
    hours = flops / (accelerator.teraflops * 1e12 * accelerator.utilization) / 3600
    return Cost(flops, hours, hours * accelerator.usd_per_hour)


def lesson_cost(row: LessonRow) -> Cost:
    """A row's cost as computed here, on A100s at the row's utilization."""
    accelerator = Accelerator(A100.teraflops, row.utilization, A100.usd_per_hour)
    return pretraining_cost(row.parameters_billion * 1e9, row.tokens_billion * 1e9, accelerator)
