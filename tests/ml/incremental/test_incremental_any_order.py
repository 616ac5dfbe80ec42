"""The engine beside full passes: exact where not stale, whatever comes in whatever order."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from incremental_cases import SCHEMAS, Case, drained, events_of, features_of, graph_of

from ml.incremental.engine import EngineConfig, IncrementalEngine
from ml.incremental.priority import PriorityConfig

EAGER = EngineConfig(
    merge_share=0.0,
    merge_least=12,
    kept_degree=2,
    priority=PriorityConfig(hub_degree=3, hub_seconds=100.0),
)
"""Everything that is for large graphs happens in small ones."""

PLACES = ("finish", "output", "forward_rows")
"""What a drain calls for each node type, by which it can be interrupted early and late."""


def interrupt(patch, model, place, after):
    """Let the call of a place fail that comes after so many others."""
    owner = model.layers[-1] if place == "forward_rows" else model
    whole, calls = getattr(owner, place), iter(range(after))

    def until(*args, **kwargs):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    patch.setattr(owner, place, until)


class Growing(RuleBasedStateMachine):
    """Batches, features, drains, reads, interruptions and restarts in any order."""

    @initialize(
        schema=st.sampled_from(sorted(SCHEMAS)),
        layers=st.integers(1, 3),
        seed=st.integers(0, 2),
        config=st.sampled_from([EAGER, EngineConfig()]),
        edge_ages=st.sampled_from([(), (3.0, 20.0, 200.0)]),
    )
    def begin(self, schema, layers, seed, config, edge_ages):
        self.schema, self.config = SCHEMAS[schema], config
        self.case = Case(graph_of(self.schema, seed), layers=layers, edge_ages=edge_ages)
        self.engine = IncrementalEngine.start(*self.case.start, config=config)
        self.now = 0.0
        self.taken, self.kept = [], []
        self.keep()

    @rule(data=st.data())
    def apply(self, data):
        events = data.draw(events_of(self.schema))
        features = data.draw(features_of(self.schema))
        before = {
            name: dict(zip(*self.engine.embeddings(name), strict=True))
            for name in self.engine.caches
        }
        self.now += 1.0
        applied = self.engine.apply(events, now=self.now, features=features)
        assert applied.events + applied.ignored == len(events)
        self.case.append(events, features)
        self.taken.append((events, features))
        for name, rows in before.items():
            ids, after = self.engine.embeddings(name)
            for node_id, z in zip(ids, after, strict=True):
                assert node_id not in rows or np.array_equal(rows[node_id], z)

    @rule(budget=st.integers(0, 40))
    def drain(self, budget):
        self.now += 0.25
        stale = sum(self.engine.backlog(now=self.now).rows.values())
        refreshed = self.engine.drain(budget, now=self.now)
        count = sum(len(ids) for ids, _ in refreshed.embeddings.values())
        assert (count > 0) == (stale > 0)
        assert refreshed.edges <= budget or count == 1
        assert sum(self.engine.backlog(now=self.now).rows.values()) == stale - count
        self.check_rows(refreshed.embeddings)

    @rule(budget=st.integers(0, 40), place=st.sampled_from(PLACES), after=st.integers(0, 2))
    def interrupted_drain(self, budget, place, after):
        """Either nothing has happened, or it came to the end before that call."""
        before = self.looked_at()
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, self.engine.model, place, after)
            try:
                self.drain(budget)
            except KeyboardInterrupt:
                assert self.looked_at() == before

    @rule(data=st.data())
    def read(self, data):
        name = data.draw(st.sampled_from(sorted(self.engine.caches)))
        ids = data.draw(st.lists(st.sampled_from([*self.engine.caches[name].ids, "nobody"])))
        refreshed = self.engine.refresh(name, ids, now=self.now)
        known = [i for i in dict.fromkeys(ids) if i in self.engine.caches[name].index]
        assert refreshed.embeddings[name][0] == known
        assert all(self.engine.stale_since(name, i) is None for i in known)
        self.check_rows(refreshed.embeddings)

    @rule()
    def restart(self):
        stale = self.engine.backlog(now=self.now)
        self.engine = IncrementalEngine.restore(
            *self.case.start[:2], self.engine.checkpoint(), now=self.case.now, config=self.config
        )
        assert self.engine.backlog(now=self.now) == stale

    @rule()
    def keep(self):
        self.kept.append((self.engine.checkpoint(), len(self.taken)))

    @rule(data=st.data(), again=st.integers(0, 2))
    def go_back(self, data, again):
        """To any checkpoint; what came since comes again, and a little of what was before it."""
        state, position = self.kept[data.draw(st.integers(0, len(self.kept) - 1))]
        self.engine = IncrementalEngine.restore(
            *self.case.start[:2], state, now=self.case.now, config=self.config
        )
        for events, features in self.taken[max(position - again, 0) :]:
            self.now += 1.0
            self.engine.apply(events, now=self.now, features=features)

    @invariant()
    def what_is_not_stale_is_that_of_a_full_pass(self):
        self.case.check(self.engine)

    def looked_at(self):
        """All that is told of every node: since when it is stale, and its embedding."""
        return {
            (name, node_id): (self.engine.stale_since(name, node_id), tuple(z))
            for name in self.engine.caches
            for node_id, z in zip(*self.engine.embeddings(name), strict=True)
        }

    def check_rows(self, embeddings):
        for name, (ids, z) in embeddings.items():
            place = {node_id: row for row, node_id in enumerate(self.case.graph.node_ids[name])}
            expected = self.case.expected()[name][[place[i] for i in ids]]
            np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6)

    def teardown(self):
        if hasattr(self, "engine"):
            drained(self.engine, now=self.now)
            self.case.check(self.engine, all_fresh=True)
            assert self.engine.audit(rows=1_000, seed=0).relative < 1e-5


TestGrowing = Growing.TestCase
TestGrowing.pytestmark = [pytest.mark.timeout(1500)]  # over a minute where nothing else runs
TestGrowing.settings = settings(deadline=None, max_examples=250, stateful_step_count=12)
