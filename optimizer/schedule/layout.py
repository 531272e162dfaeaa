"""Which rank runs which stage, which weights a minibatch runs on there, and which gradients an update averages.

Stage s has r_s replicas, each a rank of its own with the whole stage; R = Σ r_s ranks in all, numbered stage by stage.
There are B minibatches.

    who          minibatch b runs at stage s on replica b mod r_s, forward and backward; it is the ⌊b ÷ r_s⌋-th there
    in flight    a replica has d_s minibatches between forward and backward: it runs d_s forwards first, then backward,
                 update, forward, backward, update, …  Here d_s = 1 in the last stage, and before it
                 d_s = min( ⌈(d_{s+1} · r_{s+1} + (r_{s+1} − 1) + (2 r_s − 1)) ÷ r_s⌉, ⌈B ÷ r_s⌉ )
    update       round k of stage s is its minibatches k·r_s … k·r_s + r_s − 1. When all their backwards are done, each
                 replica adds up their gradients in the order of the minibatches, divides by how many there are, and
                 makes version k + 1 from version k. So all replicas have the same weights, bit for bit
    version      minibatch b reads version max( 0, ⌊b ÷ r_s⌋ − d_s + 1 ) at stage s, in forward and backward alike

With r_s = 1 everywhere this is 1F1B with weight stashing. With one stage it is data-parallel training, an update of R
minibatches after the other. A replica without a minibatch in the last round takes part in its update all the same.
Buffers, such as a batch norm's running statistics, are each replica's own; the model's are those of replica 0.

An update waits for the last minibatch of its round, and so may what follows on all replicas. So a stage has more in
flight than the next one: one for each replica, the r_s − 1 that its own round may lack, and the r_{s+1} − 1 that the
next one's may. With that the slowest stage never waits in the steady state, whatever else its stages take, as far as
messages take no time (a test); with PipeDream's ⌈(r_s + r_{s+1} + …) ÷ r_s⌉ the pipeline can be 0.4 times as fast.

Source: Narayanan et al., "PipeDream", SOSP 2019, sections 3.1 and 3.2 (1F1B-RR; NOAM).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RankLayout:
    """The ranks of each stage."""

    replicas: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of ranks."""
        return sum(self.replicas)

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.replicas)

    @property
    def replicated(self) -> bool:
        """Whether some stage has several ranks."""
        return self.size > self.stages

    def ranks(self, stage: int) -> range:
        """Return the ranks of a stage."""
        first = sum(self.replicas[:stage])
        return range(first, first + self.replicas[stage])

    def stage_of(self, rank: int) -> int:
        """Return the stage that a rank runs."""
        return next(stage for stage in range(self.stages) if rank in self.ranks(stage))

    def replica_of(self, rank: int) -> int:
        """Return which replica of its stage a rank is."""
        return rank - self.ranks(self.stage_of(rank)).start

    def depth(self, stage: int, minibatches: int) -> int:
        """Return d_s, how many minibatches each replica of a stage has in flight at most."""
        ahead, last = 1, self.replicas[-1]
        for own in reversed(self.replicas[stage:-1]):
            ahead, last = -(-(ahead * last + (last - 1) + (2 * own - 1)) // own), own
        return min(ahead, -(-minibatches // last))

    def round_of(self, stage: int, minibatch: int, minibatches: int) -> range:
        """Return the minibatches whose gradients one update of a stage averages."""
        own = self.replicas[stage]
        first = minibatch // own * own
        return range(first, min(first + own, minibatches))
