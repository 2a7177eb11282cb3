"""CounterAnimal's theory as runs: Theorem 6.2, MultiColoredMNIST, coloured objects.

    theorem          simulated, and in closed form as printed and exact
    colored_mnist    contrastive against supervised learning, as Table 8
    colored_objects  fine-tuning an image-text model against ERM, as Table 7

Source: Wang et al. 2024, "Do CLIPs Always Generalize Better than ImageNet Models?"
(arXiv 2403.11497v1), section 6 and its appendices. `reference/` has the numbers printed
there.
"""
