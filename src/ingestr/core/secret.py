"""A string that must not be shown: credentials travel through the program in it."""

from ingestr import redaction


class Secret:
    """Holds a secret text; ``reveal()`` is the only way to it, so every use can be found.

    While it lives, and for some time after, the text is blotted out of everything that is said (``redaction.py``),
    whoever repeats it. Texts of fewer than four characters cannot be: they occur in every message.

    Args:
        text: a credential, or a URI whose parameters hold some.
        public: it may be seen, and is kept here only because its neighbours may not.
    """

    __slots__ = ("_known", "_public", "_text")

    def __init__(self, text: str, *, public: bool = False) -> None:
        self._text = text
        self._public = public
        self._known = () if public else redaction.remember(text)

    def reveal(self) -> str:
        """The secret itself: for the wire only, never for a message."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[object, ...]:
        return (_restored, (self._text, self._public))


def _restored(text: str, public: bool) -> Secret:
    return Secret(text, public=public)
