"""The table of claims, in the order of the page."""

from collections.abc import Mapping

from bench.claims import exact, racing, saving
from bench.claims.claim import ANY, EXACT, LENGTHS, UNFITTED, Claim, settings
from bench.claims.racing import CONSENSUS, DRIVEN, FILLED
from bench.claims.saving import ASC, ENTROPIES, LEADS, OFTEN, ONCE

OURS = "this project, docs/strategies.md"
CLAIMS: tuple[Claim, ...] = (
    Claim(
        (ASC,),
        "Adaptive-Consistency, 2305.11860, abstract and figure 1",
        "Up to 7.9 times fewer samples than a fixed 40, 3.3 times on average, at less than 0.1 points of accuracy",
        saving.adaptive_consistency,
        settings((ASC,), (40,)),
    ),
    Claim(
        (ASC,),
        "Adaptive-Consistency, 2305.11860, section 3.2; arithmetic",
        "The Beta test at 0.95 first passes with 4-0, 6-1, 8-2 and 9-3 votes",
        exact.first_patterns,
        scope=EXACT,
    ),
    Claim(
        (ASC,),
        "replay of public tables of Qwen3 chains: AutoTTS, Parallel-Probe",
        "The saving grows with the size of the baseline, and a fixed 16 gives nearly what a fixed 64 gives",
        saving.baseline_size,
        settings((ASC,), (16, 40, 64)),
    ),
    Claim(
        ("esc-5",),
        "ESC, 2401.10480, table of main results",
        "33.8 to 84.2 % fewer samples than self-consistency at equal accuracy, windows of 5",
        saving.esc,
        settings(("esc-5",), (40,)),
    ),
    Claim(
        ("esc-8", "esc-5"),
        "ESC, 2401.10480",
        "A wider window is the safer one: fewer answers change, for fewer samples saved",
        saving.wider_window,
        settings(("esc-5", "esc-8"), (40,)),
    ),
    Claim(
        (ONCE, "esc-5"),
        "Certaindex, 2412.20993, SC thresholds; arithmetic",
        "Certaindex 0.7 at five votes is exactly one window of ESC",
        exact.one_window,
        settings((ONCE, "esc-5"), (8,)),
    ),
    Claim(
        ("certaindex-once-0.4@5",),
        "Certaindex, 2412.20993, SC on LiveCodeBench; arithmetic",
        "Certaindex 0.4 at five votes is exactly a leader of at least three",
        exact.three_of_five,
        scope=EXACT,
    ),
    Claim(
        ("certaindex-once-0.75@16", "certaindex-once-0.85@16"),
        "Certaindex, 2412.20993, Rebase thresholds; arithmetic",
        "At 16 votes 0.75 admits the tie 8-8, and 0.85 is at most two dissenters who agree with each other",
        exact.sixteen,
        scope=EXACT,
    ),
    Claim(
        (ONCE,),
        "Certaindex, 2412.20993, batch experiments with SC",
        "10 % (MATH) to 47 % (GSM8K) of the tokens saved at cap 20 and equal accuracy by one look at five votes",
        saving.certaindex_saving,
        settings((ONCE,), (20,)),
    ),
    Claim(
        (OFTEN, ONCE),
        "Certaindex, 2412.20993, table of policies",
        "Looking again every five votes saves 1.7 points more of the tokens than one look",
        saving.certaindex_again,
        settings((OFTEN, ONCE), (20,)),
    ),
    Claim(
        (*ENTROPIES, ASC),
        "replay of public tables of Qwen3 chains: AutoTTS, Parallel-Probe",
        "Normalised entropy is dominated by a test of the lead: at the same tokens it changes more answers on average",
        saving.lead_beats_entropy,
        settings((*ENTROPIES, *LEADS), (16, 40)),
    ),
    Claim(
        ("curtailment",),
        "sequential curtailment; lossless by construction",
        "Never gives another answer than the full budget",
        saving.curtailment,
        (*settings(("curtailment",), (8, 16, 64)), *settings(("curtailment",), (64,), (16,))),
    ),
    Claim(
        ("short-3",),
        "short-m@k, 2505.17813, abstract",
        "The first three of k beat the majority of k by 2 to 4 points in 33 % less time",
        racing.short,
        (*settings(("short-3",), (8,), (8,)), *settings(("short-3",), (16,), (16,))),
        LENGTHS,
    ),
    Claim(
        ("first-finish",),
        "short-1@k, 2505.17813, abstract",
        "The first of k alone is as good as the majority of k with up to 40 % fewer tokens",
        racing.shortest,
        settings(("first-finish",), (8,), (8,)),
        LENGTHS,
    ),
    Claim(
        ("first-finish",),
        "First Finish Search, 2505.18149, abstract",
        "The first to finish is 15 points better than one sample (82.2 % on AIME, DeepSeek-R1)",
        racing.first_finish,
        (*settings(("first-finish",), (8,), (8,)), *settings(("at-least-1",), (8,))),
        LENGTHS,
    ),
    Claim(
        ("three-count-0.95", ASC),
        "Optimal Bayesian stopping, 2602.05395, abstract",
        "30 to 80 % of the calls saved, about 1.4 times better than Adaptive-Consistency",
        saving.three_count,
        settings(("three-count-0.95", ASC), (64,)),
        UNFITTED,
    ),
    Claim(
        ("anytime-0.05",),
        "MMC, 2510.17472, and CITE, 2605.05873",
        "The error stays below 5 % however often one looks",
        exact.anytime_error,
        scope=EXACT,
    ),
    Claim(
        ("anytime-0.05",),
        "MMC, 2510.17472, and CITE, 2605.05873",
        "It takes about 2 (p1 + p2) / (p1 - p2)^2 ln(1 / delta) votes",
        exact.anytime_votes,
        scope=EXACT,
    ),
    Claim(
        ("sprt", "mixture-sprt"),
        "ConSol, 2503.17587, section 2",
        "The sequential tests have a type I error of alpha = 5 %",
        exact.consol_error,
        scope=EXACT,
    ),
    Claim(
        ("sprt", "mixture-sprt"),
        "ConSol, 2503.17587, AIME 2024 with o3-mini",
        "63.9 to 84.8 % of the output tokens saved against self-consistency at a cap of 256, at equal accuracy",
        saving.consol,
        settings(("sprt", "mixture-sprt"), (64,)),
    ),
    Claim(
        ("momentum-0.5",),
        "AutoTTS, 2605.08083",
        "69.5 % of the tokens of a fixed 64 saved at equal mean accuracy",
        saving.momentum,
        settings(("momentum-0.5",), (64,)),
    ),
    Claim(
        ("value-0.002",),
        f"{OURS}; after the knowledge gradient (Frazier, Powell and Dayanik, 2008), no published figure for votes",
        "Samples go where they gain most: more accurate than a fixed budget of the same tokens, and little spent on "
        "questions whose votes scatter",
        saving.value,
        settings(("value-0.002", ASC), (64,)),
    ),
    Claim(
        (DRIVEN,),
        "replay of public tables of Qwen3 chains; against 2412.20993, which waits for waves of five",
        "Sixteen in flight, each completion tested and the rest aborted, keep nine tenths of Adaptive-Consistency's "
        "saving in no more time than the whole budget at once",
        racing.sixteen_in_flight,
        (*settings((FILLED,), (64,), (1, 16)), *settings((DRIVEN,), (64,), (16,))),
        LENGTHS,
    ),
    Claim(
        (DRIVEN,),
        "replay of public tables of Qwen3 chains",
        "Votes in order of completion are biased: other answers rise from 0.3 % one at a time to 6 % with 64 in "
        "flight, and accuracy does not fall",
        racing.order_bias,
        settings((FILLED,), (64,), (1, 16, 64)),
        LENGTHS,
    ),
    Claim(
        ("deepconf-0.95-16",),
        "DeepConf, 2508.15260; its 16 warm-ups",
        "Hardly any gain at budgets of K = 32 and below",
        racing.break_even,
        settings((CONSENSUS, ASC), (32,)),
    ),
    Claim(
        ("deepconf-0.95-16",),
        "DeepConf, 2508.15260, online, low",
        "43 to 85 % of the tokens of 512 samples saved, at a higher accuracy on average",
        racing.confidences,
        scope=ANY,
    ),
    Claim(
        ("cges-0.95",),
        "CGES, 2511.02603, version 2",
        "58 % fewer calls than a fixed 16 within 0.4 points",
        racing.confidences,
        scope=ANY,
    ),
    Claim(
        ("confident-0.9", "confident-share-0.8"),
        "Self-Calibration, 2503.00031",
        "94.2 % fewer samples to reach an accuracy of 85.0, with weights fine-tuned for it",
        racing.confidences,
        scope=ANY,
    ),
    Claim(
        ("reward-mean-0.4@3", "reward-max-0.99@16"),
        "Certaindex, 2412.20993, MCTS and Rebase",
        "13 % (MCTS) to more than 50 % (Rebase) of the tokens saved by the reward of finished paths",
        racing.confidences,
        scope=ANY,
    ),
    Claim(
        ("confident-0.9",),
        "ReASC, 2601.02970",
        "One confident sample may answer alone: up to 70 % of the cost saved",
        racing.confidences,
        scope=ANY,
    ),
    Claim(
        ("selector rpc", "selector perplexity-consistency"),
        "RPC, 2502.00511 and 2510.15444, abstract",
        "Votes weighted by the samples' probabilities need half the samples for the same accuracy",
        racing.confidences,
        scope=ANY,
    ),
)
UNCLAIMED: Mapping[str, str] = {
    "fixed": "the baseline of all others",
    "at-least": "a guard, not a rule of its own",
    "backed": "a guard, not a rule of its own",
    "adaptive-consistency-dirichlet": "compared in 2305.11860, without a figure of its own that could be checked",
    "adaptive-consistency-crp": "named in 2305.11860; the definition is this project's",
    "adaptive-consistency-entropy": "compared in 2305.11860; not a test of the lead, like Certaindex",
    "adaptive-consistency-majority": "compared in 2305.11860, without a figure of its own that could be checked",
    "predictive": "this project's default; measured against the published rules in [rules.md](rules.md)",
}
"""Rules by name that no claim is about, and why."""
