"""The engine beside full passes: exact where not stale, whatever comes in whatever order."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from incremental_cases import SCHEMAS, Case, drained, events_of, features_of, graph_of

from ml.hgt.incremental import IncrementalConfig, IncrementalEngine
from ml.hgt.priority import PriorityConfig

EAGER = IncrementalConfig(
    merge_share=0.0,
    merge_least=12,
    kept_degree=2,
    priority=PriorityConfig(hub_degree=3, hub_seconds=100.0),
)
"""Everything that is for large graphs happens in small ones."""


class Growing(RuleBasedStateMachine):
    """Batches, features, drains, reads and restarts in any order."""

    @initialize(
        schema=st.sampled_from(sorted(SCHEMAS)),
        layers=st.integers(1, 3),
        seed=st.integers(0, 2),
        config=st.sampled_from([EAGER, IncrementalConfig()]),
    )
    def begin(self, schema, layers, seed, config):
        self.schema, self.config = SCHEMAS[schema], config
        self.case = Case(graph_of(self.schema, seed), layers=layers)
        self.engine = IncrementalEngine.start(*self.case.start, config=config)
        self.now = 0.0

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
            *self.case.start[:2], self.engine.checkpoint(), config=self.config
        )
        assert self.engine.backlog(now=self.now) == stale

    @invariant()
    def what_is_not_stale_is_that_of_a_full_pass(self):
        self.case.check(self.engine)

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
TestGrowing.settings = settings(deadline=None, max_examples=25, stateful_step_count=8)
