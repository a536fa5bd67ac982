"""Instances on one node see each other, and nobody else."""

import pytest

from supervisor.network.presence import Presence, signs

pytestmark = pytest.mark.netns


def test_instances_see_each_other(node):
    """Those of the same interface count; one that is gone does not."""
    first, other = Presence("nodelocaldns"), Presence("nodelocaldns2")
    assert first.others() == 0
    second = Presence("nodelocaldns")
    assert (first.others(), second.others(), other.others()) == (1, 1, 0)
    assert len(signs("nodelocaldns")) == 2
    first.close()
    assert second.others() == 0
    second.close()
    other.close()
    assert signs("nodelocaldns") == []


def test_sockets_of_others(tmp_path):
    """Names in the table that are no signs are passed over."""
    head = "Num       RefCount Protocol Flags    Type St Inode Path"
    line = "0000000000000000: 00000002 00000000 00000000 0002 01 1"
    names = ["", " /run/x", " @shardns/node/a/12", " @shardns/node/b/34", " @other"]
    (tmp_path / "unix").write_text("\n".join([head, *(line + name for name in names)]))
    assert signs("a", tmp_path / "unix") == ["shardns/node/a/12"]
