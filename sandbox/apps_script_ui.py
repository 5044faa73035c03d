"""Be Ui, its menus and dialogs, and the little of HtmlService that they need."""

from dataclasses import dataclass
from typing import Any, Final

from sandbox.apps_script_host import Choice, Face, ScriptFault, needs
from sandbox.apps_script_run import Run

_BUTTON_SETS: Final = ("OK", "OK_CANCEL", "YES_NO", "YES_NO_CANCEL")
_BUTTONS: Final = ("OK", "CANCEL", "YES", "NO", "CLOSE")


@dataclass(frozen=True, slots=True)
class MenuItem:
    """Be a line of the menu that runs *function*."""

    label: str
    function: str


@dataclass(frozen=True, slots=True)
class Separator:
    """Be a line between the lines of the menu."""


@dataclass(frozen=True, slots=True)
class SubMenu:
    """Be a menu in the menu, or a menu in the bar."""

    title: str
    entries: "tuple[MenuEntry, ...]"


MenuEntry = MenuItem | Separator | SubMenu


class Menu(Face):
    """Be a menu in the making."""

    NAME = "Menu"

    def __init__(self, title: str, shown: list[SubMenu]) -> None:
        """Build a menu; *shown* takes it when it is added to the bar."""
        self._title = title
        self._shown = shown
        self._entries: list[MenuEntry] = []

    def addItem(self, caption: str, functionName: str) -> "Menu":
        """Add a line."""
        self._entries.append(MenuItem(caption, functionName))
        return self

    def addSeparator(self) -> "Menu":
        """Add a line between lines."""
        self._entries.append(Separator())
        return self

    def addSubMenu(self, menu: "Menu") -> "Menu":
        """Add a menu in the menu."""
        self._entries.append(menu._built())
        return self

    def addToUi(self) -> None:
        """Show it in the bar."""
        self._shown.append(self._built())

    def _built(self) -> SubMenu:
        return SubMenu(self._title, tuple(self._entries))


class PromptResponse(Face):
    """Be what the person answered."""

    NAME = "PromptResponse"

    def __init__(self, button: str, text: str) -> None:
        """Hold the pressed *button* and the *text*."""
        self._button = button
        self._text = text

    def getSelectedButton(self) -> Choice:
        """Give the pressed button."""
        return Choice("Button", self._button)

    def getResponseText(self) -> str:
        """Give the text."""
        return self._text


class HtmlOutput(Face):
    """Be a page to show."""

    NAME = "HtmlOutput"

    def __init__(self, html: str) -> None:
        """Hold *html*."""
        self._html = html
        self._title = ""
        self._width: int | None = None
        self._height: int | None = None

    def getContent(self) -> str:
        """Give the HTML."""
        return self._html

    def getTitle(self) -> str:
        """Give the title."""
        return self._title

    def setTitle(self, title: str) -> "HtmlOutput":
        """Change the title."""
        self._title = title
        return self

    def getWidth(self) -> int | None:
        """Give the width in pixels, or null."""
        return self._width

    def getHeight(self) -> int | None:
        """Give the height in pixels, or null."""
        return self._height

    def setWidth(self, width: int) -> "HtmlOutput":
        """Set a dialog's width in pixels; a sidebar has 300 px whatever this says."""
        self._width = width
        return self

    def setHeight(self, height: int) -> "HtmlOutput":
        """Set a dialog's height in pixels."""
        self._height = height
        return self


class HtmlService(Face):
    """Make pages from the project's files or from text; templates are not emulated."""

    NAME = "HtmlService"

    def __init__(self, run: Run) -> None:
        """Serve one execution."""
        self._run = run

    def createHtmlOutput(self, html: str = "") -> HtmlOutput:
        """Make a page from text."""
        return HtmlOutput(html)

    def createHtmlOutputFromFile(self, filename: str) -> HtmlOutput:
        """Make a page from <filename>.html."""
        name = f"{filename.removesuffix('.html')}.html"
        if name not in self._run.sources:
            raise ScriptFault(f"No HTML file named {filename} was found.")
        return HtmlOutput(self._run.sources[name])


class Ui(Face):
    """Be the user interface."""

    NAME = "Ui"
    ENUMS = {"Button": _BUTTONS, "ButtonSet": _BUTTON_SETS}  # noqa: RUF012

    def __init__(self, run: Run, menus: list[SubMenu]) -> None:
        """Serve one execution; *menus* takes what is added to the bar."""
        self._run = run
        self._menus = menus

    def createMenu(self, caption: str) -> Menu:
        """Begin a menu."""
        return Menu(caption, self._menus)

    @needs("script.container.ui")
    def alert(self, first: str, second: str | Choice | None = None, third: Choice | None = None) -> Choice:
        """Show (prompt), (prompt, buttons), (title, prompt) or (title, prompt, buttons) and wait."""
        title, text, buttons = _dialog_of(first, second, third)
        return Choice("Button", _button(self._run.ui.alert(title, text, buttons)))

    @needs("script.container.ui")
    def prompt(self, first: str, second: str | Choice | None = None, third: Choice | None = None) -> PromptResponse:
        """Ask (prompt), (prompt, buttons), (title, prompt) or (title, prompt, buttons) and wait."""
        title, text, buttons = _dialog_of(first, second, third)
        button, answer = self._run.ui.prompt(title, text, buttons)
        return PromptResponse(_button(button), answer)

    @needs("script.container.ui")
    def showSidebar(self, userInterface: HtmlOutput) -> None:
        """Show a sidebar."""
        self._run.ui.sidebar(userInterface.getTitle(), userInterface.getContent())

    @needs("script.container.ui")
    def showModalDialog(self, userInterface: HtmlOutput, title: str) -> None:
        """Show a dialog that blocks the sheet."""
        self._dialog(userInterface, title)

    @needs("script.container.ui")
    def showModelessDialog(self, userInterface: HtmlOutput, title: str) -> None:
        """Show a dialog beside the sheet."""
        self._dialog(userInterface, title)

    def _dialog(self, shown: HtmlOutput, title: str) -> None:
        self._run.ui.dialog(title, shown.getContent(), shown.getWidth(), shown.getHeight())


def _dialog_of(first: str, second: Any, third: Choice | None) -> tuple[str, str, str]:
    title, text = (first, second) if isinstance(second, str) else ("", first)
    buttons = second if isinstance(second, Choice) else third
    return title, text, buttons.name if buttons else "OK"


def _button(name: str) -> str:
    if name not in _BUTTONS:
        raise ValueError(f"{name!r} is no button; they are {', '.join(_BUTTONS)}")
    return name
