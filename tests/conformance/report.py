"""The table: how many cases of each section passed in each mode."""
from collections import Counter

import modes
from cases import TITLES

WIDTH = 44                  # of a section with its title


class Table:
    def __init__(self, cases, columns):
        self.cases = cases
        self.columns = columns
        self.ran = {}       # (case, mode) to why it failed; None: it passed
        self.others = {}    # tests of other clients: (outcome, why)

    def add(self, name, mode, why):
        """A clean-up that fails makes a case that passed fail."""
        if why is not None or (name, mode) not in self.ran:
            self.ran[name, mode] = why

    def add_other(self, name, outcome, why):
        name = name.split("::")[-1]
        if self.others.get(name, ("passed",))[0] == "passed":
            self.others[name] = outcome, why

    def lines(self):
        yield ""
        if self.ran:
            yield "Cases that passed, by section and mode"
            yield ""
            yield from self.head()
            yield from self.rows()
        yield from self.other_clients()
        if self.ran:
            yield from self.failures()
            yield from self.left_out()
            yield from self.last_line()

    def rows(self):
        for section in {case.section: None for case in self.cases}:
            yield self.row(f"{section} {TITLES[section]}",
                           [case for case in self.cases
                            if case.section == section])
        yield self.row("Total", self.cases)

    def other_clients(self):
        if self.others:
            yield ""
            yield "Tests with clients that others wrote: " + ", ".join(
                f"{count} {outcome}" for outcome, count in sorted(
                    Counter(o for o, _ in self.others.values()).items()))
        for name, (outcome, why) in self.others.items():
            if outcome != "passed":
                why = why[2] if isinstance(why, tuple) else why
                yield f"{outcome.upper()} {name}"
                yield f"    {why}"

    def head(self):
        def line(label, *words):
            return f"{label:{WIDTH}} {words[0]:>5}" + "".join(
                f" {word:>7}" for word in words[1:])
        yield line("", "", *(mode.transport for mode in self.columns))
        yield line("", "", *(mode.compression for mode in self.columns))
        yield line("RFC, section", "cases",
                   *(mode.sending for mode in self.columns))

    def row(self, label, cases):
        cells = "".join(f" {self.cell(cases, str(mode)):>7}"
                        for mode in self.columns)
        return f"{label[:WIDTH]:{WIDTH}} {len(cases):5}{cells}"

    def cell(self, cases, mode):
        """The number that passed, and that which did not if there is one."""
        results = [self.ran[case.name, mode] for case in cases
                   if (case.name, mode) in self.ran]
        bad = sum(why is not None for why in results)
        if not results:
            return "-"
        return f"{len(results) - bad}/{bad}!" if bad else str(len(results))

    def failures(self):
        """A line for each case and reason, with the modes it failed in."""
        found = {}
        for (name, mode), why in self.ran.items():
            if why is not None:
                found.setdefault((name, why), []).append(mode)
        for (name, why), where in sorted(found.items()):
            yield ""
            yield f"FAILED {name}"
            yield f"    in {', '.join(sorted(where))}"
            yield f"    {why}"

    def left_out(self):
        """Nothing is left out without a word."""
        reasons = Counter(reason for case in self.cases
                          for mode in self.columns
                          if (reason := case.reason_against(mode)))
        if reasons:
            yield ""
            yield "Not run, because the case"
            for reason, count in sorted(reasons.items()):
                yield f"{count:6}  {reason}"
        absent = [str(mode) for mode in modes.ALL if mode not in self.columns]
        if absent:
            yield ""
            yield f"Modes not run: {', '.join(absent)}"

    def last_line(self):
        bad = sum(why is not None for why in self.ran.values())
        yield ""
        yield (f"{len(self.cases)} cases, run {len(self.ran)} times: "
               f"{len(self.ran) - bad} passed, {bad} failed")
