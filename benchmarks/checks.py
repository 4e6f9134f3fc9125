"""How well the checks that need no model tell a good consultation from one with a planted defect.

    python -m benchmarks.checks [--planted 500] [--clean 2000] [--cases FILE] [--answers FILE] [--seed 0]

plays consultations between the two sides of the tests' double (tests/llm/clinic.py), through the very functions that
`datatools dialogue` runs, and prints for every defect how many of the planted dialogues carry its flag, and of how many
clean ones any flag was raised. Cases are made from templates; with --cases those of a file take part too. With --answers
the same defects are planted into what people wrote: a table of patients' questions with clinicians' answers.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from datatools.cases.personas import persona_of
from datatools.cases.read import cases
from datatools.checks.dialogue import check_dialogue
from datatools.checks.drugs import lexicon_of_drugs
from datatools.checks.medical import Knowledge
from datatools.checks.red_flags import red_flags
from datatools.io.files import discover
from datatools.io.read import read
from datatools.io.source import ReadOptions
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner
from pipelines.dialogue_settings import DialogueSettings
from pipelines.dialogue_turns import PATIENT, Talk, talk
from prompts.load import load
from schemas.case import ON_ASKING, UNKNOWN, VOLUNTEERED, Case, Fact
from schemas.document import Document
from tests.llm.clinic import Clinic
from tests.llm.clinic_defects import CLINICIAN, DEFECTS, MEDICINES, planted

# The flag that a defect has to raise.
FLAGS = {
    "wrong_dose": "number_not_in_source",
    "invented_drug": "unsupported_entity",
    "leakage": "leakage",
    "wrong_language": "wrong_language",
    "repetition": "repetition",
    "truncated": "truncated",
    "role_mixup": "role_leak",
    "incompatible_herbs": "incompatible:",
    "missing_warning": "red_flag_without_advice",
    "diagnosis_given_away": "diagnosis_said",
}
RATE = 0.4  # of the replies where a defect has a place: most dialogues have one, few have several

# Complaint, a detail, a diagnosis.
COMPLAINTS = (
    ("咳嗽，有白痰", "晚上躺下咳得多一些", "急性支气管炎"), ("右脚大脚趾红肿疼痛", "前天吃了海鲜喝了啤酒", "痛风性关节炎"),
    ("反酸烧心", "吃完饭弯腰更明显", "胃食管反流病"), ("手心起小水疱，痒", "洗碗以后更痒", "汗疱疹"),
    ("右耳闷，听不清", "上周感冒擤鼻涕很用力", "分泌性中耳炎"), ("膝盖上下楼疼", "蹲下去站起来费劲", "膝骨关节炎"),
    ("头皮屑多，头皮痒", "熬夜之后加重", "脂溢性皮炎"), ("尿频尿急，小便刺痛", "这两天喝水少", "膀胱炎"),
    ("左眼发红，有眼屎", "同事也有红眼", "结膜炎"), ("脖子僵，手指发麻", "整天对着电脑", "颈椎病"),
    ("大便干，三四天一次", "最近很少吃蔬菜", "功能性便秘"), ("打喷嚏流清鼻涕", "一到春天就这样", "过敏性鼻炎"),
    ("月经推迟十来天", "最近工作压力大", "月经失调"), ("牙龈出红肿，一刷牙就疼", "智齿那边张口费力", "智齿冠周炎"),
    ("入睡困难，躺下就想事情", "换了新岗位以后开始的", "失眠症"), ("小腿抽筋，夜里疼醒", "白天站得久", "腓肠肌痉挛"),
)  # fmt: skip
URGENT = (
    ("我爸胸痛，出了一身冷汗", "左边肩膀也疼", "急性心肌梗死"), ("我咳血了，有小半杯", "以前咳嗽很久没看", "支气管扩张"),
    ("孩子发烧，刚才抽搐了", "抽了有两分钟", "热性惊厥"), ("我爸突然嘴歪，说不出话", "右边胳膊抬不起来", "脑卒中"),
    ("我呼吸困难，喘不上气", "从昨天夜里开始加重", "急性左心衰竭"), ("我拉黑便，像柏油样", "还头晕得站不住", "上消化道出血"),
    ("我怀孕十周，今天见红了", "肚子一阵阵地疼", "先兆流产"), ("我妈昏倒了，叫不醒", "早上没吃饭打了胰岛素", "低血糖昏迷"),
)  # fmt: skip
LENGTHS = ("两天", "三天", "一周", "十来天", "半个月", "一个多月", "三个月", "大半年")
DRUGS = (
    "布洛芬",
    "阿莫西林",
    "莲花清瘟胶囊",
    "炉甘石洗剂",
    "蒙脱石散",
    "奥美拉唑",
    "无",
    "无",
    "氯雷他定",
    "复方甘草片",
)
ALLERGIES = ("无", "青霉素过敏", "海鲜过敏", "磺胺过敏", "无", "无")
HISTORIES = ("无", "高血压五年", "糖尿病，吃着二甲双胍", "做过阑尾手术", "无", "乙肝携带")
WISHES = ("想知道要不要去医院", "需要吃什么药吗", "会不会很严重", "怎么缓解一下", "平时要注意什么")


def made_cases(count: int, seed: int, urgent: bool | None = None) -> Iterator[Case]:
    """Different cases out of the tables above; `urgent`: all, none, or one in five when None."""
    draw = random.Random(seed)
    for number in range(count):
        pressing = number % 5 == 0 if urgent is None else urgent
        complaint, detail, diagnosis = draw.choice(URGENT if pressing else COMPLAINTS)
        facts = (
            Fact(complaint, VOLUNTEERED),
            Fact(f"希望获得的帮助：{draw.choice(WISHES)}", VOLUNTEERED),
            Fact(f"{detail}。", ON_ASKING),
            Fact(f"患病多久：{draw.choice(LENGTHS)}", ON_ASKING),
            Fact(f"用药情况：{draw.choice(DRUGS)}", ON_ASKING),
            Fact(f"过敏史：{draw.choice(ALLERGIES)}", ON_ASKING),
            Fact(f"既往病史：{draw.choice(HISTORIES)}", ON_ASKING),
            Fact(f"诊断：{diagnosis}", UNKNOWN),
        )
        yield Case(f"{seed}-{number}", facts, diagnosis)


class Double:
    """Stands where a Runner stands: the double answers at once, nothing is stored."""

    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    async def ask(self, request: Request) -> Reply:
        """The double's reply."""
        return Reply(self._clinic(cast(Any, request.messages)), "stop")


def played(case: Case, clinic: Clinic) -> list[dict[str, str]]:
    """The turns of a dialogue about a case."""
    settings = DialogueSettings(model="double")
    prompts = {step: load("dialogue", step, "zh", "other") for step in (PATIENT, settings.role)}
    begun = Talk(case, "zh", persona_of(case, 0))
    done = asyncio.run(talk(cast(Runner, Double(clinic)), begun, settings, prompts))
    return done.messages


def nameable(case: Case) -> bool:
    """Whether a case has a diagnosis that is a name, and that the patient does not know already."""
    known = "".join(case.layer(VOLUNTEERED, ON_ASKING))
    return re.fullmatch("[\u4e00-\u9fff]{3,10}", case.diagnosis) is not None and case.diagnosis not in known


def measure(wanted: int, clean: int, seed: int, more: list[Case]) -> list[tuple[str, int, int]]:
    """For every defect: dialogues that have it, and of these those that carry its flag; the clean ones last."""
    knowledge = Knowledge(lexicon_of_drugs())
    rows = []
    for place, defect in enumerate(DEFECTS):
        caught = made = 0
        urgent = True if defect == "missing_warning" else None
        source = [*made_cases(20 * wanted, seed + place, urgent)]
        for number, case in enumerate([*more, *source] if defect != "missing_warning" else source):
            if defect == "diagnosis_given_away" and not nameable(case):
                continue
            diagnoses = {case.facts[0].text: case.diagnosis}
            bad = played(case, Clinic({defect: RATE}, seed + number, diagnoses))
            if bad == played(case, Clinic({}, seed + number, diagnoses)):
                continue  # nothing was planted
            if defect == "invented_drug" and any(name in case.text and name in str(bad) for name in MEDICINES):
                continue  # a drug of the record is not invented
            flags = check_dialogue(bad, case, knowledge, language="zh")[0].flags
            caught += any(flag.startswith(FLAGS[defect]) for flag in flags)
            made += 1
            if made == wanted:
                break
        rows.append((defect, made, caught))
    flagged: Counter[str] = Counter()
    wrong = 0
    good = [*more, *made_cases(clean - len(more), seed + 1000)][:clean]
    for number, case in enumerate(good):
        flags = check_dialogue(played(case, Clinic({}, seed + number)), case, knowledge, language="zh")[0].flags
        wrong += bool(flags)
        flagged.update(flags)
    return [*rows, ("clean", len(good), wrong), *((f"  {flag}", len(good), n) for flag, n in flagged.most_common())]


def measure_answers(file: Path, planted_rows: int, clean: int, seed: int) -> list[tuple[str, int, int]]:
    """The same of a clinician's defects in real answers; the flag of a dialogue without questions does not count."""
    knowledge = Knowledge(lexicon_of_drugs())
    found = [item for source in discover([str(file)])[0] for item in read(source, ReadOptions())]
    pairs = [(str(item.meta["question"]), str(item.meta["answer"])) for item in found if isinstance(item, Document)]
    random.Random(seed).shuffle(pairs)

    def flags(question: str, answer: str, given: str) -> tuple[str, ...]:
        case = Case("real", (Fact(question, VOLUNTEERED), Fact(given, UNKNOWN)))
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        fired = check_dialogue(turns, case, knowledge, language="zh")[0].flags
        return tuple(flag for flag in fired if flag != "no_question_before_advice")

    rows = []
    for defect in CLINICIAN:
        made = caught = 0
        for number, (question, answer) in enumerate(pairs):
            bad = planted(defect, answer, bool(red_flags(question)), "", random.Random(f"{seed} {defect} {number}"))
            if bad == answer or any(name in bad and name in question + answer for name in MEDICINES):
                continue
            made += 1
            caught += any(flag.startswith(FLAGS[defect]) for flag in flags(question, bad, answer))
            if made == planted_rows:
                break
        rows.append((f"{defect}, real", made, caught))
    fired = [flags(question, answer, answer) for question, answer in pairs[:clean]]
    counts = Counter(flag for some in fired for flag in some)
    rows.append(("as written, real", len(fired), sum(map(bool, fired))))
    return [*rows, *((f"  {flag}", len(fired), count) for flag, count in counts.most_common())]


def main() -> None:
    """Print one line a defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planted", type=int, default=500, help="dialogues with each defect")
    parser.add_argument("--clean", type=int, default=2000, help="dialogues without")
    parser.add_argument("--cases", type=Path, help="a file of cases with labelled parts")
    parser.add_argument("--answers", type=Path, help="a table of questions and answers")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    more = [case for case in cases(discover([str(given.cases)])[0]) if isinstance(case, Case)] if given.cases else []
    print(f"{'defect':24}{'dialogues':>10}{'flagged':>9}{'share':>8}")
    measured = measure(given.planted, given.clean, given.seed, more)
    if given.answers:
        measured += measure_answers(given.answers, given.planted, given.clean, given.seed)
    for name, count, hits in measured:
        print(f"{name:24}{count:>10,}{hits:>9,}{hits / max(1, count):>8.3f}")


if __name__ == "__main__":
    main()
