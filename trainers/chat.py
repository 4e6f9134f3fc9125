"""Talk to a run's model in the terminal, as it speaks."""

from __future__ import annotations

import signal
import sys
from threading import Event, Thread
from typing import Any

from datatools.llm.thinking import split_thinking
from trainers.folder import load_run

HELP = "/new begins anew, /system TEXT sets the system message, /exit or Ctrl-D ends; Ctrl-C stops an answer"


def chat(
    run: str, *, system: str | None, temperature: float, max_tokens: int, seed: int = 0, quiet: bool = False
) -> None:
    """Read questions line by line and print answers as they come, until the input ends.

    Answers go to stdout, all else to stderr, so that `datatools chat RUN < questions.txt > answers.txt` works.
    """
    import torch

    talk = Talk(run, system, temperature, max_tokens)
    torch.manual_seed(seed)
    asking = sys.stdin.isatty()
    if not quiet:
        print(f"chat: {run}; {HELP}", file=sys.stderr)
    while True:
        line = _typed() if asking else sys.stdin.readline()
        if not line or line.strip() == "/exit":
            return
        words = line.strip()
        if words == "/new":
            talk.begin(talk.system)
        elif words == "/system" or words.startswith("/system "):
            talk.begin(words.removeprefix("/system").strip() or None)
        elif words.startswith("/"):
            print(HELP, file=sys.stderr)
        elif words:
            for piece in talk.answer(words):
                print(piece, end="", flush=True)
            print(flush=True)


def _typed() -> str:
    """A line from the terminal, with its history and arrow keys; empty at the end of the input."""
    import readline  # noqa: F401 # input() uses it once it is loaded

    try:
        return input("› ") + "\n"
    except EOFError:
        print(file=sys.stderr)
        return ""


class Talk:
    """A conversation with a loaded model."""

    def __init__(self, run: str, system: str | None, temperature: float, max_tokens: int) -> None:
        import torch

        self._tokenizer, self._model = load_run(run)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.to(self._device)
        self._temperature, self._max_tokens = temperature, max_tokens
        self.begin(system)

    def begin(self, system: str | None) -> None:
        """Forget what was said."""
        self.system = system
        self.messages: list[dict[str, str]] = [] if system is None else [{"role": "system", "content": system}]

    def answer(self, question: str) -> Any:
        """The answer to a question in pieces, as they are made; an interrupt ends it, what was said stays."""
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        self.messages.append({"role": "user", "content": question})
        stop, said = Event(), ""
        criteria = StoppingCriteriaList([lambda ids, scores, **_: self._stopped(ids, stop)])
        options = {**self._options(), "stopping_criteria": criteria}
        streamer: Any = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        failed: list[BaseException] = []
        thread = Thread(target=self._generate, args=(self._prompt(), streamer, options, failed), daemon=True)
        thread.start()
        try:
            for piece in streamer:
                said += piece
                yield piece
        except KeyboardInterrupt:
            # SIGTERM comes as an interrupt too, and means the whole program: its handler has switched itself off.
            if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
                raise
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]
        # Later turns are rendered without what the model thought, as in training.
        self.messages.append({"role": "assistant", "content": split_thinking(said)[1].strip()})

    def _prompt(self) -> Any:
        """Token ids of the conversation; its oldest turns are left out where the context does not hold them."""
        room = getattr(self._model.config, "max_position_embeddings", None)
        while True:
            encoded = self._tokenizer.apply_chat_template(
                self.messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            )
            length = encoded["input_ids"].shape[1]
            if room is None or length < room:
                self._room = None if room is None else room - length
                return encoded["input_ids"].to(self._device)
            first = 0 if self.system is None else 1
            if len(self.messages) - first < 3:
                self.messages.pop()
                raise ValueError(f"the question has {length:,} tokens, the model reads {room:,}")
            print("chat: the first turns no longer fit into the context and are left out", file=sys.stderr)
            del self.messages[first : first + 2]

    def _options(self) -> dict[str, Any]:
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": True, "temperature": self._temperature} if self._temperature else sampling

    def _generate(self, ids: Any, streamer: Any, options: dict[str, Any], failed: list[BaseException]) -> None:
        import torch

        pad = self._tokenizer.pad_token_id
        most = self._max_tokens if self._room is None else min(self._max_tokens, self._room)
        try:
            with torch.inference_mode():
                self._model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=most,
                    streamer=streamer,
                    pad_token_id=self._tokenizer.eos_token_id if pad is None else pad,
                    **options,
                )
        except BaseException as error:
            # Raised again by who asked: in a thread nobody would hear of it, and the reader would wait for ever.
            failed.append(error)
            streamer.end()

    def _stopped(self, ids: Any, stop: Event) -> Any:
        import torch

        return torch.full((ids.shape[0],), stop.is_set(), dtype=torch.bool, device=ids.device)
