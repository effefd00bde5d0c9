from __future__ import annotations

import pytest

from dgemma_lsp import proposals as module
from dgemma_lsp.infill.hunks import Change, diff
from dgemma_lsp.proposals import HunkState, Proposal, Proposals

OLD = "a\nb\nc\n"
NEW = "x\nb\ny\nz\n"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def add(store: Proposals, uri: str = "u", old: str = OLD, new: str = "x\nb\ny\nz") -> Proposal:
    hunks = diff(old, [Change(0, len(old) - 1, new)], "\n")
    made = store.add(uri, 4, old, hunks, "i", noise=1.0, seed=0)
    assert made is not None
    return made


def test_the_lines_are_found_wherever_they_went() -> None:
    proposal = add(Proposals())
    assert proposal.locate("1\n2\n3\n" + OLD)
    assert proposal.at == 6
    assert [proposal.place(hunk, ()) for hunk in proposal.hunks] == [(6, 8), (10, 12)]
    assert not proposal.locate("a\nb\nd\n")
    assert proposal.at == 6


def test_what_the_document_holds_decides_what_is_accepted() -> None:
    proposal = add(Proposals())
    one, two = (hunk.id for hunk in proposal.hunks)
    proposal.accept([two])
    assert proposal.locate("a\nb\ny\nz\n")
    assert proposal.made == {two}
    proposal.accept([one])
    assert proposal.locate(NEW)
    assert proposal.made == {one, two}
    assert proposal.open == ()
    assert proposal.locate("a\nb\ny\nz\n")  # the second accept was undone
    assert [hunk.id for hunk in proposal.open] == [one]
    assert proposal.locate(OLD)  # the first as well
    assert proposal.made == frozenset()
    assert proposal.locate(NEW)  # and all done again
    assert proposal.made == {one, two}


def test_a_hunk_left_stays_left_when_another_is_undone() -> None:
    proposal = add(Proposals())
    proposal.reject([1])
    proposal.accept([2])
    assert proposal.locate(OLD)
    assert proposal.states == {1: HunkState.REJECTED, 2: HunkState.OPEN}


def test_a_renewed_hunk_remembers_what_it_was() -> None:
    proposal = add(Proposals())
    proposal.renew(1, "w\n", ())
    assert proposal.text({1, 2}) == "w\nb\ny\nz\n"
    assert proposal.shown[1] == {"x\n", "w\n"}


def test_proposals_are_forgotten_with_their_document_and_in_time() -> None:
    clock = Clock()
    store = Proposals(clock)
    one, two = add(store, "one"), add(store, "two")
    assert one.id != two.id
    store.forget("one")
    assert (store.get(one.id), store.get(two.id)) == (None, two)
    clock.now = module.LIFETIME_S - 1
    assert store.get(two.id) is two
    clock.now += module.LIFETIME_S - 1
    assert store.get(two.id) is two  # it was asked about meanwhile
    clock.now += module.LIFETIME_S + 1
    assert store.get(two.id) is None


def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Proposals()
    first = add(store)
    others = [add(store) for _ in range(module.MOST - 1)]
    assert store.get(first.id) is first
    add(store)
    assert store.get(first.id) is first
    assert store.get(others[0].id) is None  # the one not used for longest
    assert len(store) == module.MOST
    monkeypatch.setattr(module, "MOST_CHARS", 3 * first.chars)
    add(store)
    assert len(store) == 3
    hunks = diff(OLD * 99, [Change(0, 1, "x")], "\n")
    assert store.add("u", 0, OLD * 99, hunks, "i", noise=1.0, seed=0) is None
    assert store.add("u", 0, OLD, (), "i", noise=1.0, seed=0) is None
