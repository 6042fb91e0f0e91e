"""XML out of a hostile hand: nothing expanded, nothing fetched, depth and size bounded by libxml2."""

# lxml ships no types, so what comes out of it is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportPrivateUsage=false
# pyright: reportUnknownParameterType=false

from typing import Final

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - untyped

XmlError: Final = etree.XMLSyntaxError


def parse_xml(data: bytes) -> etree._Element:
    """The root element.

    Raises:
        XmlError: It is not well-formed, or deeper than 256 elements.
    """
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False
    )
    return etree.fromstring(data, parser)


def local_name(element: etree._Element) -> str:
    """An element's name without its namespace; empty for comments and processing instructions."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
