from xml.dom import minidom

from perf import plot


def test_pictures_are_xml():
    """Every picture is well-formed, whatever is in its names."""
    for picture in (
        plot.bars("a & b", "us", {"<x>": 1.0, "y": 0.0}),
        plot.bars("nothing", "us", {}),
        plot.tails("t", {"a & b": [(10.0, 0.5), (100.0, 0.01), (1000.0, 0.0)]}),
        plot.tails("nothing", {}),
        plot.flames("f", {("main", "<lambda>"): 3, ("main",): 1}, 0.01),
    ):
        assert "<svg" in minidom.parseString(picture).toxml()  # noqa: S318 - our own text


def test_flames_are_as_wide_as_their_share():
    """A frame's title says its share of all samples, and what is below the least share is left out."""
    picture = plot.flames("f", {("main", "a"): 90, ("main", "b"): 9, ("main", "c"): 1}, 0.05)
    assert "<title>main 100.0%</title>" in picture
    assert "<title>b 9.0%</title>" in picture
    assert "<title>c" not in picture
