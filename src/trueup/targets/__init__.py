"""One file per kind of target. A kind names its sides, its settings and its table; it runs nothing."""
