"""EPUB: the chapters in the order of the package's spine, each read as a page of HTML."""

# lxml ships no types, so what comes out of it is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportPrivateUsage=false, reportUnknownLambdaType=false

import posixpath
import zipfile
from typing import BinaryIO, Final
from urllib.parse import unquote

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - untyped

from undercroft.retrieval.parsing.archive import open_archive, read_entry
from undercroft.retrieval.parsing.detection import EPUB
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.html_page import MAX_MARKUP_CHARACTERS, add_xhtml
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.text import TextBuilder, read_text
from undercroft.retrieval.parsing.xml import XmlError, parse_xml

_CONTAINER: Final = "META-INF/container.xml"
_ENCRYPTION: Final = "META-INF/encryption.xml"
_CHAPTER_TYPES: Final = frozenset({"application/xhtml+xml", "text/html"})


def parse_epub(file: BinaryIO, max_characters: int) -> ExtractedDocument:
    """The text of a book.

    Raises:
        ParseError: It is damaged, or protected by digital rights management.
    """
    builder = TextBuilder(max_characters)
    try:
        with open_archive(file) as archive:
            package_path = _package_path(archive)
            package = parse_xml(read_entry(archive, package_path))
            chapters = _chapter_paths(package, package_path)
            if _encrypted_paths(archive).intersection(chapters):
                raise ParseError(
                    ParseErrorCode.ENCRYPTED,
                    "This book is protected (DRM) and cannot be read. Upload a copy without protection.",
                )
            for chapter in chapters:
                add_xhtml(builder, read_text(read_entry(archive, chapter), MAX_MARKUP_CHARACTERS))
    except (XmlError, zipfile.BadZipFile, KeyError, NotImplementedError, EOFError) as error:
        raise _damaged(repr(error)) from error
    return builder.build(EPUB, package.findtext(".//{*}metadata/{*}title"))


def _package_path(archive: zipfile.ZipFile) -> str:
    rootfile = parse_xml(read_entry(archive, _CONTAINER)).find(".//{*}rootfile")
    path = None if rootfile is None else rootfile.get("full-path")
    if not path:
        raise _damaged("no rootfile")
    return path


def _chapter_paths(package: etree._Element, package_path: str) -> list[str]:
    """The files of the spine, in reading order, each once."""
    base = posixpath.dirname(package_path)
    manifest = {
        item.get("id"): posixpath.normpath(posixpath.join(base, unquote(item.get("href", ""))))
        for item in package.iterfind(".//{*}manifest/{*}item")
        if item.get("media-type") in _CHAPTER_TYPES
    }
    spine = (item.get("idref") for item in package.iterfind(".//{*}spine/{*}itemref"))
    return list(dict.fromkeys(manifest[name] for name in spine if name in manifest))


def _encrypted_paths(archive: zipfile.ZipFile) -> set[str]:
    """What the book lists as encrypted: often only its fonts, which are no loss."""
    if _ENCRYPTION not in archive.namelist():
        return set()
    references = parse_xml(read_entry(archive, _ENCRYPTION)).iterfind(".//{*}CipherReference")
    return {posixpath.normpath(unquote(reference.get("URI", ""))) for reference in references}


def _damaged(detail: str) -> ParseError:
    return ParseError(
        ParseErrorCode.CORRUPT_FILE,
        "This EPUB file is damaged. Export it again and upload the new file.",
        detail=detail[:500],
    )
