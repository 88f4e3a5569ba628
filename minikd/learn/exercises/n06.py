"""The exercises of notebook 6: what T² is for."""

from minikd.learn.exercises import Exercise

EXERCISES = {
    "6.1": Exercise(
        "the weight of the soft targets when T² is forgotten",
        solution=lambda alpha, T: 1 / (1 + (1 - alpha) / alpha * T * T),
        cases=((0.5, 1.0), (0.5, 20.0), (0.9, 4.0), (0.1, 8.0)),
        mistakes={
            "both weights must be divided by their sum, so that they are α′ and 1 − α′": lambda alpha, T: alpha / T**2,
            "the soft gradient falls as 1/T², not as 1/T": lambda alpha, T: alpha / (alpha + (1 - alpha) * T),
            "that is alpha as it was set; without T² the soft targets count for less": lambda alpha, T: alpha,
            "that is the weight of the hard targets": lambda alpha, T: 1 - alpha / (alpha + (1 - alpha) * T**2),
            "the ratio of the two weights; divide by their sum, not by the other": lambda alpha, T: (
                alpha / T**2 / (1 - alpha)
            ),
            "the wrong way round: without T² the soft targets count for less": lambda alpha, T: (
                alpha * T**2 / (alpha * T**2 + 1 - alpha)
            ),
        },
    ),
    "6.2": Exercise("the gradient of the distillation loss", gradient="distillation"),
}
