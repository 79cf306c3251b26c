"""A table gives what the teacher says, whoever fills it, however often, and whatever happens to its files."""

import math
import multiprocessing
import os
import resource
import shutil
import signal
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtrain.teacher_table import Counts, TeacherTable, _Claim, open_table

IMAGES, VIEWS, CLASSES = 5000, 18, 7
FORKED = multiprocessing.get_context("fork")


def open_in(folder, **changes):
    return TeacherTable(folder, **{"num_images": IMAGES, "num_views": VIEWS, "num_classes": CLASSES, **changes})


def say(index_N, view_N):
    """What the teacher says: another number in every place."""
    cell_N = index_N * VIEWS + view_N
    return torch.sin(cell_N[:, None].double() * torch.arange(1, CLASSES + 1)).float()


def fetch(table, index_N, view_N, *, wait=0.0):
    """The table's answer, where it has to ask in batches of 100."""
    def ask(place_N):
        for place_B in place_N.split(100):
            time.sleep(wait)
            yield say(index_N[place_B], view_N[place_B])
    return table.fetch(index_N, view_N, ask, batch_size=100)


def draw(seed, count=IMAGES):
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(IMAGES, generator=generator)[:count], torch.randint(VIEWS, (count,), generator=generator)


def test_every_answer_is_the_teacher_s_and_a_cell_is_asked_for_once(tmp_path):
    table, asked = open_in(tmp_path), set()
    for seed in range(4):
        index_N, view_N = draw(seed, 3000)
        asked |= set((index_N * VIEWS + view_N).tolist())
        assert torch.equal(fetch(table, index_N, view_N), say(index_N, view_N))
    assert table.counts == Counts(read=12_000 - len(asked), computed=len(asked))


def test_another_process_reads_what_one_has_filled(tmp_path):
    index_N, view_N = draw(0)
    fetch(open_in(tmp_path), index_N, view_N)
    later = open_in(tmp_path)
    order = torch.randperm(IMAGES)
    assert torch.equal(fetch(later, index_N[order], view_N[order]), say(index_N, view_N)[order])
    assert later.counts == Counts(read=IMAGES)


@settings(deadline=None, max_examples=25)
@given(seeds=st.lists(st.integers(0, 3), min_size=1, max_size=6), count=st.integers(1, 2500))
def test_it_does_not_matter_who_asked_before(tmp_path_factory, seeds, count):
    folder = tmp_path_factory.mktemp("table")
    for seed in seeds:
        index_N, view_N = draw(seed, count)
        assert torch.equal(fetch(open_in(folder), index_N, view_N), say(index_N, view_N))


def fill_for_long(folder, seeds, told):
    table = open_in(folder)
    for seed in seeds:
        index_N, view_N = draw(seed)
        assert torch.equal(fetch(table, index_N, view_N, wait=0.002), say(index_N, view_N))
    told.put(table.counts)


def test_processes_with_the_same_views_share_the_work_to_the_cell(tmp_path):
    told = FORKED.Queue()
    fillers = [FORKED.Process(target=fill_for_long, args=(tmp_path, (0, 1), told)) for _ in range(3)]
    for filler in fillers:
        filler.start()
    counts = [told.get(timeout=60) for _ in fillers]
    distinct = {cell for index_N, view_N in map(draw, (0, 1)) for cell in (index_N * VIEWS + view_N).tolist()}
    assert sum(count.computed for count in counts) == len(distinct)
    assert sum(count.read for count in counts) == 3 * 2 * IMAGES - len(distinct)
    for filler in fillers:
        filler.join()


@pytest.mark.parametrize("count", [150, 1600, 4321])
def test_who_comes_later_wants_the_chunks_that_are_left(tmp_path, count):
    """Wherever others have got to: else what they compute now would be computed twice."""
    index_N, view_N = draw(0, count)
    fetch(open_in(tmp_path), index_N, view_N)
    names = sorted(path.name for path in tmp_path.glob("*.chunk"))
    assert len(names) == math.ceil(count / (100 * math.ceil(count / 1600)))  # a sixteenth, in batches of 100
    for name in names[::3]:
        (tmp_path / name).unlink()
    later = open_in(tmp_path)
    fetch(later, index_N, view_N)
    assert sorted(path.name for path in tmp_path.glob("*.chunk")) == names
    assert 0 < later.counts.computed < count


def test_a_killed_filler_loses_no_more_than_its_chunk(tmp_path):
    told = FORKED.Queue()
    filler = FORKED.Process(target=fill_for_long, args=(tmp_path, range(100), told))
    filler.start()
    while len(list(tmp_path.glob("*.chunk"))) < 3:
        time.sleep(0.005)
    os.kill(filler.pid, signal.SIGKILL)
    filler.join()
    left = sum((path.stat().st_size - 32) // (8 + 4 * CLASSES) for path in tmp_path.glob("*.chunk"))
    table = open_in(tmp_path)
    for seed in range(100):
        index_N, view_N = draw(seed)
        assert torch.equal(fetch(table, index_N, view_N), say(index_N, view_N))
        if seed == 0:
            assert table.counts.computed <= max(0, IMAGES - left)
    assert not list((tmp_path / "claims").iterdir())  # nobody waited for the dead one, and its claim is gone


@pytest.mark.parametrize("killed", range(5))
def test_killed_again_and_again_the_table_is_filled_in_the_end(tmp_path, killed):
    told = FORKED.Queue()
    for wait in (0.03, 0.06, 0.01, 0.09):
        filler = FORKED.Process(target=fill_for_long, args=(tmp_path, (killed, killed + 1), told))
        filler.start()
        time.sleep(wait)
        filler.kill()
        filler.join()
    index_N, view_N = draw(killed)
    assert torch.equal(fetch(open_in(tmp_path), index_N, view_N), say(index_N, view_N))
    again = open_in(tmp_path)
    assert torch.equal(fetch(again, index_N, view_N), say(index_N, view_N))
    assert again.counts == Counts(read=IMAGES)


@pytest.mark.parametrize("place", [0, 8, 16, 24, 40, -1])
def test_a_byte_that_changed_is_noticed_and_computed_anew(tmp_path, place):
    """In the mark, the count, the classes, the checksum, a cell's number and a logit."""
    index_N, view_N = draw(0)
    fetch(open_in(tmp_path), index_N, view_N)
    damaged = min(tmp_path.glob("*.chunk"))
    content = bytearray(damaged.read_bytes())
    content[place] ^= 1
    damaged.write_bytes(content)
    table = open_in(tmp_path)
    assert torch.equal(fetch(table, index_N, view_N), say(index_N, view_N))
    assert table.counts.damaged == 1
    assert 0 < table.counts.computed < IMAGES
    healed = open_in(tmp_path)
    assert torch.equal(fetch(healed, index_N, view_N), say(index_N, view_N))
    assert healed.counts == Counts(read=IMAGES)


@pytest.mark.parametrize("size", [0, 5, 32, 1000])
def test_a_chunk_that_was_cut_short_is_computed_anew(tmp_path, size):
    index_N, view_N = draw(0)
    fetch(open_in(tmp_path), index_N, view_N)
    cut = min(tmp_path.glob("*.chunk"))
    cut.write_bytes(cut.read_bytes()[:size])
    table = open_in(tmp_path)
    assert torch.equal(fetch(table, index_N, view_N), say(index_N, view_N))
    assert table.counts.damaged == 1


def fill_without_room(folder, told):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # a write beyond is refused, as on a full disk
    table = open_in(folder)
    index_N, view_N = draw(0)
    answers = [torch.equal(fetch(table, index_N, view_N), say(index_N, view_N)) for _ in range(2)]
    told.put((answers, table.counts, sorted(path.name for path in folder.iterdir())))


def test_a_full_disk_costs_passes_of_the_teacher_and_no_wrong_number(tmp_path):
    told = FORKED.Queue()
    filler = FORKED.Process(target=fill_without_room, args=(tmp_path, told))
    filler.start()
    answers, counts, left = told.get(timeout=60)
    filler.join()
    assert answers == [True, True]
    assert counts == Counts(computed=2 * IMAGES, unwritten=2 * IMAGES)
    assert left == ["claims"]


def test_no_table_grows_beyond_its_bound(tmp_path):
    bound = 100_000
    table = open_in(tmp_path, max_bytes=bound)
    index_N, view_N = draw(0)
    for _ in range(2):
        assert torch.equal(fetch(table, index_N, view_N), say(index_N, view_N))
    taken = sum(path.stat().st_size for path in tmp_path.glob("*.chunk"))
    assert 0 < taken == table.stored_bytes <= bound
    assert table.counts.unwritten == 2 * (IMAGES - table.counts.read)


def test_the_last_gigabyte_of_a_disk_is_left_to_others(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    table = open_in(tmp_path)
    index_N, view_N = draw(0)
    assert torch.equal(fetch(table, index_N, view_N), say(index_N, view_N))
    assert table.counts == Counts(computed=IMAGES, unwritten=IMAGES)


def test_a_table_that_is_removed_while_it_is_used_goes_on(tmp_path):
    table = open_in(tmp_path / "table")
    for seed in range(3):
        index_N, view_N = draw(seed)
        assert torch.equal(fetch(table, index_N, view_N), say(index_N, view_N))
        shutil.rmtree(tmp_path / "table")


def test_a_claim_that_nobody_renews_is_taken_over(tmp_path):
    index_N, view_N = draw(0, 10)
    fetch(open_in(tmp_path), index_N, view_N)
    (chunk,) = tmp_path.glob("*.chunk")
    chunk.unlink()
    claim = tmp_path / "claims" / chunk.stem
    claim.write_text("1 another-host")
    os.utime(claim, (time.time() - 61, time.time() - 61))
    assert torch.equal(fetch(open_in(tmp_path), index_N, view_N), say(index_N, view_N))
    assert not claim.exists()


def hold_claim(path, held, release):
    path.write_text(f"{os.getpid()} another-host")
    held.set()
    release.wait()
    path.unlink()


def test_what_another_stores_while_a_claim_is_taken_is_read(tmp_path, monkeypatch):
    index_N, view_N = draw(0, 50)
    take = _Claim.take

    def take_late(claim):
        monkeypatch.setattr(_Claim, "take", take)
        fetch(open_in(tmp_path), index_N, view_N)
        return take(claim)

    monkeypatch.setattr(_Claim, "take", take_late)
    later = open_in(tmp_path)
    assert torch.equal(fetch(later, index_N, view_N), say(index_N, view_N))
    assert later.counts == Counts(read=50)
    assert not list((tmp_path / "claims").iterdir())


def test_a_claim_that_is_held_is_waited_for(tmp_path):
    index_N, view_N = draw(0, 10)
    fetch(open_in(tmp_path), index_N, view_N)
    (chunk,) = tmp_path.glob("*.chunk")
    chunk.unlink()
    held, release = FORKED.Event(), FORKED.Event()
    holder = FORKED.Process(target=hold_claim, args=(tmp_path / "claims" / chunk.stem, held, release))
    holder.start()
    held.wait()
    waiter = FORKED.Process(target=fetch, args=(open_in(tmp_path), index_N, view_N))
    waiter.start()
    waiter.join(timeout=0.5)
    assert waiter.is_alive()
    release.set()
    waiter.join()
    holder.join()
    assert waiter.exitcode == 0
    assert chunk.exists()


def test_a_process_opens_a_table_once_and_others_can_read_what_it_is_of(tmp_path):
    key = {"teacher_id": "w0123", "data": "digits"}
    sizes = {"num_images": 5, "num_views": 2, "num_classes": 3}
    table = open_table(tmp_path, key, **sizes)
    assert open_table(tmp_path, key, **sizes) is table
    assert open_table(tmp_path, {**key, "data": "svhn"}, **sizes).folder != table.folder
    assert '"teacher_id": "w0123"' in (table.folder / "table.json").read_text()
