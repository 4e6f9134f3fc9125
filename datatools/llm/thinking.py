"""What a model thought before it answered, in the tags that models put around it."""

from __future__ import annotations

import re

# Tags of R1, Qwen, Seed, Magistral and Kimi, and the headings of HuatuoGPT-o1.
TAGS = r"think|thinking|thought|reasoning|seed:think"
THINKING = re.compile(
    rf"\s*(?:<({TAGS})>(?P<tag>.*?)</\1>|\[THINK\](?P<bracket>.*?)\[/THINK\]|◁think▷(?P<triangle>.*?)◁/think▷"
    r"|\#+ *Thinking\s*?\n(?P<heading>.*?)\n\#+ *Final Response\s*?\n)",
    re.DOTALL,
)
OPENING = rf"(?:<(?:{TAGS})>|\[THINK\]|◁think▷)"
# Templates of R1 and Qwen put the opening tag into the prompt: the reply then starts inside the thinking.
LATE_THINKING = re.compile(rf"(?!.*{OPENING})(.*)(?:</(?:{TAGS})>|\[/THINK\]|◁/think▷)", re.DOTALL)
OPEN_THINKING = re.compile(rf"\s*{OPENING}(.*)", re.DOTALL)


def split_thinking(text: str) -> tuple[str, str]:
    """Thinking at the beginning, and the answer after it. Tags further in belong to the answer.

    >>> split_thinking("<think>first</think><think>then</think> Rest.")
    ('first\\nthen', ' Rest.')
    """
    thoughts = []
    while found := THINKING.match(text):
        thoughts.append(found[found.lastgroup or 0])
        text = text[found.end() :]
    if found := LATE_THINKING.match(text):
        thoughts.append(found[1])
        text = text[found.end() :]
    elif found := OPEN_THINKING.match(text):
        thoughts.append(found[1])
        text = ""
    return "\n".join(thoughts), text
