"""The three questions and answers that lie over the dashboard: leave, note, help."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from trs_explorer.tui.keys import help_text


class Leave(ModalScreen[str]):
    """Asks how to leave a live training. Gives "detach", "stop" or "cancel"."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d,q", "answer('detach')", show=False),
        Binding("s", "answer('stop')", show=False),
        Binding("c,escape", "answer('cancel')", show=False),
    ]

    def __init__(self, name: str, owns_trainer: bool) -> None:
        """Ask about the run of that name."""
        super().__init__()
        self._question = "This window started the training." if owns_trainer else "The training is running."
        self._name = name

    def compose(self) -> ComposeResult:
        """The question and three answers, the first one chosen."""
        with Vertical(classes="dialog"):
            yield Static(f"{self._question} Leave it how?", markup=False)
            yield OptionList(
                Option("[b]d[/b]  detach: it goes on", id="detach"),
                Option("[b]s[/b]  stop: save, then end it", id="stop"),
                Option("[b]c[/b]  cancel: stay here", id="cancel"),
            )
            yield Static(f"come back with: trs watch {self._name}", classes="hint", markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click on an answer."""
        self.dismiss(event.option.id)

    def action_answer(self, answer: str) -> None:
        """A letter."""
        self.dismiss(answer)


class Note(ModalScreen[str]):
    """Asks for one line of text; empty means none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]

    def compose(self) -> ComposeResult:
        """One input line."""
        with Vertical(classes="dialog"):
            yield Static("Note for the run (enter to keep, escape to drop)")
            yield Input(max_length=200)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """Escape."""
        self.dismiss("")


class Help(ModalScreen[None]):
    """What the keys do and what the words mean."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter,space", "close", show=False)]

    def compose(self) -> ComposeResult:
        """The text, scrollable."""
        with VerticalScroll(classes="dialog help"):
            yield Static(help_text(), markup=False)

    def action_close(self) -> None:
        """Any of the closing keys."""
        self.dismiss(None)
