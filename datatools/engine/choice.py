"""Where units run: what a user may choose, and nothing that changes a byte of the output."""

from __future__ import annotations

from dataclasses import dataclass

ENGINES = ("local", "ray")


@dataclass(frozen=True, slots=True)
class Engine:
    """`local`: processes of this machine. `ray`: tasks of the cluster at `address`.

    `workers` are processes here, and threads of what this process does itself; on Ray the cluster's CPUs decide how
    many units run at once.
    """

    name: str = "local"
    workers: int = 1
    address: str = "auto"  # of a cluster that runs: auto, HOST:PORT or ray://HOST:PORT; local starts one here

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise ValueError(f"--engine {self.name}: must be one of {', '.join(ENGINES)}")
        if not self.address:
            raise ValueError("--ray-address: must be auto, local, HOST:PORT or ray://HOST:PORT")

    @property
    def spreads(self) -> bool:
        """Whether units run on other machines too."""
        return self.name == "ray"

    def __str__(self) -> str:
        """
        >>> str(Engine(workers=2)), str(Engine("ray"))
        ('2 workers', 'Ray at auto')
        """
        return f"Ray at {self.address}" if self.spreads else f"{self.workers} workers"


LOCAL = Engine()
