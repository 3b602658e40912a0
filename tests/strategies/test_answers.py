"""Answers read out of messages: tables of cases, real model outputs, and properties over any text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.answers import Kind, canonical, expected_kind, extract, is_plain, split_reasoning


def said(content, kind=Kind.OPEN, **fields):
    """The answer of a message with this content."""
    return extract({"role": "assistant", "content": content, **fields}, kind)


def asked(question, **fields):
    """The kind that a request with this question asks for."""
    return expected_kind({"messages": [{"role": "user", "content": question}], **fields})


REASONING = [
    ({"content": "5"}, ("", "5")),
    ({"content": None, "reasoning": "cut"}, ("cut", "")),
    ({"content": "5", "reasoning": "hm"}, ("hm", "5")),
    ({"content": "5", "reasoning_content": "hm"}, ("hm", "5")),
    ({"content": "<think>hm</think>5"}, ("hm", "5")),
    ({"content": "hm</think>\n\n5"}, ("hm", "5")),
    ({"content": "<think>hm \\boxed{7}"}, ("hm \\boxed{7}", "")),
    ({"content": "<think>a</think>b</think>c"}, ("ab", "c")),
    ({"content": "<think>a</think>so <think>b</think>c"}, ("ab", "so c")),
    ({"content": "<think>a"}, ("a", "")),
    ({"content": "[THINK]a[/THINK]b"}, ("a", "b")),
    ({"content": "Close it with `</think>`."}, ("", "Close it with `</think>`.")),
    ({"content": [{"type": "text", "text": "5"}]}, ("", "5")),
    (
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}, {"type": "text", "text": "b"}]},
        ("a", "b"),
    ),
    ({"content": []}, ("", "")),
    ({}, ("", "")),
]


@pytest.mark.parametrize(("message", "parts"), REASONING)
def test_reasoning_and_text_are_told_apart(message, parts):
    """Fields, content parts and think tags, opened and closed or not, all separate the thought from the answer."""
    assert split_reasoning(message) == parts


KINDS = [
    ("What is 2+2?", {}, Kind.OPEN),
    ("Weather?", {"tools": [{"type": "function"}]}, Kind.TOOL),
    ("Weather?", {"tools": [{"type": "function"}], "tool_choice": "none"}, Kind.OPEN),
    ("List", {"response_format": {"type": "json_object"}}, Kind.JSON),
    ("List", {"response_format": {"type": "json_schema", "json_schema": {}}}, Kind.JSON),
    ("List", {"response_format": {"type": "text"}}, Kind.OPEN),
    ("List", {"structured_outputs": {"json": {"type": "object"}}}, Kind.JSON),
    ("Which?\nA) red\nB) blue\nC) green", {}, Kind.CHOICE),
    ("Which?\n(A) red\n(B) blue", {}, Kind.CHOICE),
    ("Which?\nA. red\nB. blue", {}, Kind.CHOICE),
    ("Which?\n- **A:** red\n- **B:** blue", {}, Kind.CHOICE),
    ("Which? A) red B) blue", {}, Kind.CHOICE),
    ("Which? (A) red (B) blue (C) green", {}, Kind.CHOICE),
    ("Which? A. red B. blue C. green D. none", {}, Kind.CHOICE),
    ("Compute f(A) and f(B).", {}, Kind.OPEN),
    ("I met Mr. A. Then B. came.", {}, Kind.OPEN),
    ("1. first\n2. second", {}, Kind.OPEN),
    ("a) Find x.\nb) Find y.", {}, Kind.OPEN),
    ([{"type": "text", "text": "Which?\nA) x\nB) y"}, {"type": "image_url", "image_url": {}}], {}, Kind.CHOICE),
    (None, {}, Kind.OPEN),
]


@pytest.mark.parametrize(("question", "fields", "kind"), KINDS)
def test_the_request_tells_the_kind_of_its_answer(question, fields, kind):
    """Tools, a JSON format, or lettered options in the last user message decide how answers are compared."""
    assert asked(question, **fields) is kind


@pytest.mark.parametrize("messages", [None, [], "x", [None], [{"role": "system", "content": "A) x\nB) y"}]])
def test_requests_without_a_question_are_open(messages):
    """A malformed or empty list of messages is nothing to stumble over."""
    assert expected_kind({"messages": messages}) is Kind.OPEN


def call(name, arguments):
    """A tool call, as OpenAI spells it."""
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = [
    ([call("f", '{"b": 1.0, "a": "x"}')], 'f({"a":"x","b":1})'),
    ([call("f", {"b": 1, "a": "x"})], 'f({"a":"x","b":1})'),
    ([call("f", "")], "f({})"),
    ([call("g", "{}"), call("f", '{"x": [1.50]}')], 'g({}); f({"x":[1.5]})'),
    ([call("f", "{broken")], None),
    ([call("", "{}")], None),
    ([call("f", '{"x": NaN}')], None),
    ([{"type": "custom", "custom": {"name": "sql", "input": "select 1"}}], 'sql("select 1")'),
    (["what"], None),
    ({"f": 1}, None),
]


@pytest.mark.parametrize(("calls", "answer"), TOOLS)
def test_tool_calls_are_named_with_canonical_arguments(calls, answer):
    """Equal calls are equal strings however their arguments are spelled; an unreadable call does not vote."""
    assert said(None, Kind.TOOL, tool_calls=calls) == answer
    assert answer is None or is_plain(answer)


def test_a_tool_call_is_the_answer_whatever_was_expected():
    """Text beside a tool call is talk; without a call, the text is the answer; a legacy call counts as well."""
    assert said("Let me look: 7", Kind.OPEN, tool_calls=[call("f", "{}")]) == "f({})"
    assert said("It is \\boxed{7}.", Kind.TOOL, tool_calls=[]) == "7"
    assert said(None, Kind.TOOL, function_call={"name": "f", "arguments": "{}"}) == "f({})"


JSONS = [
    ('{"b": 2.0, "a": [1, {"d": null, "c": true}]}', '{"a":[1,{"c":true,"d":null}],"b":2}'),
    ('```json\n{"a": 1}\n```', '{"a":1}'),
    ('Here you are:\n```\n{"a": 1}\n```\nAnything else?', '{"a":1}'),
    ('Sure! {"a": "\u00e9"} Done.', '{"a":"\u00e9"}'),
    ("[3, 1.25]", "[3,1.25]"),
    ('"x"', '"x"'),
    ('{"a": 1', None),
    ("no json", None),
    ('{"a": Infinity}', None),
    ('{"a": 1e999}', '{"a":"1e999"}'),
    ("[" * 100_000, None),
    ('{"a": "\\ud800"}', '{"a":"?"}'),
]


@pytest.mark.parametrize(("content", "answer"), JSONS)
def test_json_is_compared_in_canonical_form(content, answer):
    """Key order, white space, fences and 1.0 for 1 make no difference; what is not JSON does not vote."""
    assert said(content, Kind.JSON) == answer


CHOICES = [
    ("B", "B"),
    ("b.", "B"),
    ("(C)", "C"),
    ("**D**", "D"),
    ("B) 42.86%", "B"),
    ("The answer is (C).", "C"),
    ("The answer is **B**.", "B"),
    ("**Answer: D**", "D"),
    ("**Answer:** A) 12", "A"),
    ("The correct option is therefore C.", "C"),
    ("The best choice is (B) because it rains.", "B"),
    ("Option E is correct.", "E"),
    ("Thus the answer is A because it rains.", "A"),
    ("The answer is A good day.", None),
    ("Of all these, I think (D) fits best.", "D"),
    ("So \\boxed{C}", "C"),
    ("So $\\boxed{\\text{(B) } 12}$", "B"),
    ("So \\boxed{\\textbf{(A)}\\ 3}", "A"),
    ("The answer is A and C.", "A,C"),
    ("Answer: B, D", "B,D"),
    ("The answer is B. Wait, no. The answer is D.", "D"),
    ("\u7b54\u6848\uff1aC", "C"),
    ("We cannot tell from the text.", None),
    ("So \\boxed{42}", "42"),
    # Real ones: mcqa100-gpt4-cot (M. Renze, BSD 2-Clause).
    ('Therefore, the answer is B: 42.86%.\n\nAction: Answer("B")', "B"),
    (
        "The answer is A: On average, the area of new commercial housing purchased by each household is unchanged.\n"
        'Action: Answer("A")',
        "A",
    ),
    ('Hence, R must be scheduled in week 4 or 5.\n \nAction: Answer("C")', "C"),
    ("C: Moving four legs while running is instinctive.\n  The answer is B: Opening a trashcan looking for food.", "B"),
    ("Action: Answer('C').", "C"),
    ('that they resembled a modern airplane. \nAnswer: "D"', "D"),
    ("Again, this is not one of the options, so there must be a mistake.\nThe semi-perimeter of the", None),
]


@pytest.mark.parametrize(("content", "answer"), CHOICES)
def test_the_letter_of_a_choice_is_found(content, answer):
    """The last box, announcement or option line names the letter; articles and prose do not."""
    assert said(content, Kind.CHOICE) == answer


OPEN = [
    # Boxes.
    ("The total is \\boxed{204} minutes.", "204"),
    ("$$\n\\boxed{\\dfrac{3}{56}}\n$$", "3/56"),
    ("\\boxed{1} no, \\boxed{2}", "2"),
    ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}"),
    ("\\boxed{x = \\boxed{5}}", "5"),
    ("\\fbox{7}", "7"),
    ("\\boxed 7", "7"),
    ("\\boxed{\\{1, 2\\}}", "1, 2"),
    ("$\\boxed{3}$ and $\\boxed{5}$", "3, 5"),
    ("\\boxed{3} is one; the other one, after a while, is \\boxed{5}", "5"),
    ("\\boxed{} The answer is 4.", "4"),
    ("\\boxed{5", "5"),
    ("{ \\boxed{6}", "6"),
    ("\\boxed{\\text{Evelyn}}", "evelyn"),
    ("\\boxed{\\text{No solution}}", "no solution"),
    ("The answer is 3.\nNo: \\boxed{4}", "4"),
    # Announcements.
    ("The answer is 42.", "42"),
    ("The answer is: 42", "42"),
    ("So the final answer is $42$.", "42"),
    ("**Answer:** 42", "42"),
    ("**Answer: 42** because of this.", "42"),
    ("### Final Answer\n\n$$\nx = 12\n$$", "12"),
    ("**Final Answer**\n17 apples", "17"),
    ("The answer to the second question is 7 cm.", "7"),
    ("Answer (in dollars): $1,234.50", "1234.5"),
    ("The answer is $18 for 3 days.", "18"),
    ("The answer is $\\frac{3}{4}$ of the cake.", "0.75"),
    ("The answer is \\(x = -3\\).", "-3"),
    ("The answer is $3$ or $5$.", "3, 5"),
    ("The answer is 42, because 6*7=42.", "42"),
    ("The answer is that she has 5 apples left.", "5"),
    ("The answer is Paris.", "paris"),
    ("Answer: Apollo 11", "apollo 11"),
    ("Answer: Not possible", "no solution"),
    ("Answer: There is no solution to obtain 24 with these numbers.", "no solution"),
    ("The answer is 3 hours and 20 minutes.", "3 hours and 20 minutes"),
    ("The answer is not 5. It is 6.", "6"),
    ("The answer is 5. I hope this answer is helpful.", "5"),
    ("The answer is 3.14.", "3.14"),
    ("The answer is \u22125.", "-5"),
    ("\u7b54\u6848\u662f 42", "42"),
    ("She makes 9 * 2 = $18 every day.\n#### 18", "18"),
    ("#### 1,250", "1250"),
    ("#### 3. Conclusion\nIt rains.", None),
    # Final numbers.
    ("42", "42"),
    ("x^2+1", "x^2+1"),
    ("$2\\sqrt{3}$", "2\\sqrt{3}"),
    ("(3, 4)", "(3, 4)"),
    ("Yes.", "yes"),
    ("First 3, then 4.\nSo she has 12 eggs left.", "12"),
    ("Hence the total is 3 * 6 = 18 dollars.", "18"),
    ("It costs $1,234.50.", "1234.5"),
    ("So he spent $200 + $600 = $800 on ties.", "800"),
    ("Bailey started with $100 - $40 = $60.", "60"),
    ("In total he scored 4+5=9 points in the 40 minutes.", "9"),
    ("She had 4 * 6 = 24 eggs, so 20 are left.", "20"),
    ("The answer is $\\$18.90$.", "18.9"),
    ("The probability is 3/8.", "0.375"),
    ("Thus the area is $\\frac{9}{2}$ square units.", "4.5"),
    ("Therefore\n\\[ x = 12 \\]", "12"),
    ("The ride is 27km.", "27"),
    ("We meet at 10:30.", "10:30"),
    ("She has 7 left. Would you like 3 more examples?", None),
    ("She has 7 left.\n\nWould you like 3 more examples?", "7"),
    ("Use GPT-4 or H2O.", None),
    ("```python\nprint(3)\n```", None),
    ("3. Use tests", None),
    ("It cannot be 5.", None),
    ("Hello! How can I help you today?", None),
    ("The sky scatters blue light more than red light.", None),
    ("", None),
    ("   \n", None),
    ("<think>\\boxed{7}</think>", None),
    ("<think>The answer is 7.", None),
    ("<think>The answer is 7.</think>The answer is 8.", "8"),
    ('{"city": "Rome", "n": 1.0}', '{"city":"Rome","n":1}'),
    # Real ones: DeepSeek-R1-Distill-Qwen-7B and Qwen3-8B (A. M. Mohsin, MIT), GPT-4 (tree-of-thought-llm, MIT).
    ("\\text{Distance} = 18 \\, \\text{mph} \\times 1.5 \\, \\text{hours} = 27 \\, \\text{miles}\n"
     "  \\]\n\n**Final Answer:**\n\\[\n\\boxed{27}\n\\]", "27"),
    ("This confirms that the expression simplifies to:\n\n$$\n\\tan 100^\\circ + 4 \\sin 100^\\circ = -\\sqrt{3}\n$$\n"
     "\n---\n\n### Final Answer\n\n$$\n\\boxed{-\\sqrt{3}}\n$$", "-\\sqrt{3}"),
    ("Steps:\n6 - 4 = 2 (left: 2 5 10)\n5 * 2 = 10 (left: 10 10)\nAnswer: (6 - 4) * 5 = 24", "(6-4)*5=24"),
    ("- The total number of paths is \\( 2 \\times 81,675 = 163,350 \\)\n\nIt is \\(\\boxed{163350}\\).", "163350"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "answer"), OPEN)
def test_open_answers_are_found(content, answer):
    """A box beats an announcement beats the final number; free text and thoughts have no answer."""
    assert said(content) == answer


def test_refusals_and_empty_messages_do_not_vote():
    """A refusal is no answer, even when it holds a number; nor is a message with nothing in it."""
    assert said("I cannot. 5", refusal="I cannot help with that.") is None
    assert [extract({}, kind) for kind in Kind] == [None] * len(Kind)
    assert [extract({"content": None, "reasoning": "\\boxed{5}"}, kind) for kind in Kind] == [None] * len(Kind)


SAME = [
    ["1000", "1,000.0", "1e3", "1 000", "1\\,000", "1{,}000", "$1,000", "\\$1,000.00", "1,\\!000", "01000", "1000."],
    ["0.5", "1/2", "\\frac{1}{2}", "\\dfrac12", "\\frac 12", ".5", "0.50", "\u00bd", "1 / 2", "+0.5"],
    ["-0.25", "\u22120.25", "-1/4", "-\\frac{1}{4}", "\\frac{-1}{4}", "- 1/4"],
    ["1/3", "0.\\overline{3}", "\\frac{2}{6}", "2/6"],
    ["1.8", "1\\frac{4}{5}", "1 4/5", "9/5"],
    ["5", "x=5", "x = 5", "$x=5$", "f(2) = 5", "\\theta = 5", "x = 10/2 = 5", "Total cost = 5", "{5}", "(5)", "5.",
     "\\boxed{5}", "5 cm", "5 apples", "5\\text{ cents}", "5 \\mbox{ inches}^2", "5^\\circ", "5\u00b0", "5 degrees",
     "5\\%", "5%", "5 m", "approximately 5", "\u2248 5", "**5**", "\"5\"", "\u20ac5", "5 km/h",
     "\\left(5\\right)", "\\text{5}", "\\mathbf{5}"],
    ["5000000", "5 million", "5 million dollars", "5,000,000", "5 \\times 10^{6}", "5*10^6", "5e6"],
    ["C", "(C)", "\\text{(C)}", "\\textbf{(C)}", "C."],
    ["evelyn", "Evelyn", "\\text{Evelyn}", "EVELYN."],
    ["no solution", "No solution", "\\text{no solution}"],
    ["(3, \\frac{\\pi}{2})", "\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\dfrac{\\pi}2)"],
    ["(0.5, 1)", "(\\frac{1}{2}, 1)", "(1/2,1)", "(x,y)=(0.5,1)"],
    ["(3, 4]", "(3,4]", "x \\in (3,4]", "\\left(3,4\\right]"],
    ["-2, 1", "1, -2", "-2,1", "\\{1, -2\\}", "1 and -2", "x = 1 or x = -2", "x=-2, x=1", "1 \\text{ and } -2"],
    ["x=3, y=5", "y=5,x=3", "x = 3 and y = 5"],
    ["x^2+1", "x^{2} + 1", "x\u00b2+1", "x ^ 2 + 1"],
    ["3\\sqrt{13}", "3\\sqrt13", "3 \\sqrt{13}", "3\u221a13", "3sqrt(13)"],
    ["\\frac{\\sqrt{3}}{3}", "\\dfrac{\\sqrt3}3", "\\frac{\\sqrt{3}}{3}."],
    ["11111111100", "11,\\! 111,\\! 111,\\! 100", "11,111,111,100"],
    ["10:30am", "10:30 AM", "10:30 a.m."],
]  # fmt: skip


@pytest.mark.parametrize(("spelling", "other"), [(group[0], other) for group in SAME for other in group])
def test_spellings_of_one_value_are_one(spelling, other):
    """LaTeX, Unicode, units, separators and order of sets change nothing: the first spelling is the canonical one."""
    assert canonical(other) == spelling


DIFFERENT = [
    ("1", "2"), ("5", "-5"), ("0.333", "1/3"), ("(1, 2)", "(2, 1)"), ("(1, 2)", "[1, 2]"), ("1, 200", "1200"),
    ("52_8", "52_9"), ("x=3, y=5", "x=5, y=3"), ("5m", "5"), ("2k", "2"), ("5x", "5"), ("x", "X"), ("5!", "5"),
    ("(6-4)*5=24", "4*6=24"), ("no", "yes"), ("3 hours and 20 minutes", "20 hours and 3 minutes"), ("ab", "ba"),
    ("5 and a half", "5"), ("1/0", "0"), ("5 pi", "5"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_values_stay_apart(one, other):
    """Cosmetics never merge answers that differ."""
    assert canonical(one) != canonical(other)


PLAIN = [
    "5",
    "-0.25",
    "1/3",
    "(3, 4]",
    "-2, 1",
    "x=3, y=5",
    "(-\\infty, 2)",
    "C",
    "evelyn",
    "no solution",
    "yes",
    "10:30am",
]


@pytest.mark.parametrize("answer", [*PLAIN, '{"a":1}', "[1]", 'f({"a":1})', "f({}); g({})"])
def test_plain_answers_need_no_algebra(answer):
    """Numbers, lists of them, words, letters, JSON and tool calls are equal only if their strings are."""
    assert is_plain(answer)
    assert answer not in PLAIN or canonical(answer) == answer


@pytest.mark.parametrize(
    "answer", ["x^2+1", "\\pi", "2\\sqrt{3}", "xy", "2k", "(6-4)*5=24", "52_8", "5!", "\\sin x", "sin x"]
)
def test_formulas_need_algebra(answer):
    """Formulas may be equal in other spellings: strings alone do not decide."""
    assert not is_plain(canonical(answer))


MESSY = st.text() | st.text("\\{}$()[]<>think/boxed frac12.,*_#=\"'A B:answer is\n", max_size=300)


@given(MESSY, st.sampled_from(Kind))
def test_extraction_accepts_any_text(text, kind):
    """Whatever a model says, reading its answer returns a non-empty string that can be encoded, or None."""
    answer = said(text, kind)
    assert answer is None or (answer and answer.encode())


@given(MESSY)
def test_canonical_spelling_is_stable(text):
    """The canonical spelling of a canonical spelling is itself."""
    once = canonical(text)
    assert canonical(once) == once


@given(st.fractions(max_denominator=10**6))
def test_every_spelling_of_a_fraction_is_one(value):
    """A fraction as n/d, as LaTeX, and as its canonical string are the same plain answer."""
    a, b = value.numerator, value.denominator
    spellings = {canonical(f"{a}/{b}"), canonical(f"\\frac{{{a}}}{{{b}}}"), canonical(canonical(f"{a}/{b}"))}
    assert len(spellings) == 1
    assert is_plain(spellings.pop())


@given(st.integers(), st.integers(min_value=0, max_value=5))
def test_separators_and_trailing_zeros_do_not_matter(value, zeros):
    """1,234.00 is 1234 for every integer."""
    assert canonical(f"{value:,}" + ("." + "0" * zeros if zeros else "")) == canonical(str(value))


@given(st.text(max_size=200))
def test_thoughts_are_never_read(thought):
    """Whatever stands in the thought, closed or cut, in the field or in tags, the answer is what comes after it."""
    assert extract({"content": f"<think>\\boxed{{1}}{thought}</think>\\boxed{{2}}"}, Kind.OPEN) == "2"
    assert extract({"content": "\\boxed{2}", "reasoning": f"\\boxed{{1}}{thought}"}, Kind.OPEN) == "2"


HOSTILE = [
    "\\boxed{" * 150_000, "{" * 1_000_000, "answer " * 140_000, "answer is " * 100_000, "$" * 1_000_000, "1," * 500_000,
    "<think>" * 140_000, "</think>" * 120_000, "((" * 500_000, "\\frac{" * 160_000, " " * 1_000_000, "=" * 1_000_000,
    "Answer(" * 140_000, "\\[" * 500_000, "`" * 1_000_000, "**" * 500_000, "#### " * 200_000, "\n" * 1_000_000,
    "a " * 500_000, "```json\n" * 120_000, '{"a":' * 200_000, "Answer: " + "9" * 1_000_000,
    "the answer is " + "x y " * 250_000,
    "A) " * 330_000, "option " * 140_000, "\\boxed{" + "(" * 900, "1.1" * 330_000, "1 000" * 200_000, "- " * 500_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].strip() or "blank")
def test_a_megabyte_is_read_in_linear_time(text):
    """A megabyte made to confuse the patterns takes seconds of CPU at most, for all kinds and as a question."""
    began = time.process_time()
    for kind in Kind:
        said(text, kind)
    asked(text)
    assert time.process_time() - began < 5.0
