"""The dialogs of the dashboard: leave, note, help."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from trs_explorer.tui.keys import help_text


class Leave(ModalScreen[str]):
    """Ask how to leave a live training. Result: "detach", "stop" or "cancel"."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d,q", "answer('detach')", show=False),
        Binding("s", "answer('stop')", show=False),
        Binding("c,escape", "answer('cancel')", show=False),
    ]

    def __init__(self, name: str, owns_trainer: bool) -> None:
        """Create the dialog. name: the run's path.  owns_trainer: this window started the training."""
        super().__init__()
        self._question = "This window started the training." if owns_trainer else "The training is running."
        self._name = name

    def compose(self) -> ComposeResult:
        """The question and three answers; the first is selected."""
        with Vertical(classes="dialog"):
            yield Static(f"{self._question} How do you want to leave?", markup=False)
            yield OptionList(
                Option("[b]d[/b]  detach: the training continues", id="detach"),
                Option("[b]s[/b]  stop: save a checkpoint, then end the training", id="stop"),
                Option("[b]c[/b]  cancel: stay here", id="cancel"),
            )
            yield Static(f"to return: trs watch {self._name}", classes="hint", markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Handle Enter or a click on an answer."""
        self.dismiss(event.option.id)

    def action_answer(self, answer: str) -> None:
        """Handle the letter of an answer."""
        self.dismiss(answer)


class Note(ModalScreen[str]):
    """Ask for one line of text. Result: the text, empty if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]

    def compose(self) -> ComposeResult:
        """The prompt and an input line."""
        with Vertical(classes="dialog"):
            yield Static("Note for the run (Enter saves, Escape cancels)")
            yield Input(max_length=200)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Handle Enter."""
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """Handle Escape."""
        self.dismiss("")


class Help(ModalScreen[None]):
    """Show the help."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter,space", "close", show=False)]

    def compose(self) -> ComposeResult:
        """The help text, scrollable."""
        with VerticalScroll(classes="dialog help"):
            yield Static(help_text(), markup=False)

    def action_close(self) -> None:
        """Close the help."""
        self.dismiss(None)
