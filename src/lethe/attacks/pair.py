"""Prompt search by an agent: does a way of asking that an attacker works out by trying bring the answers back?"""

from collections.abc import Iterator

from lethe.data.chat import endpoint as endpoint_at
from lethe.data.held import held_and_others
from lethe.descent.activations import increasing
from lethe.descent.prompt_search import Attacker, Chatting, Combining, Judge, asked, best_prompts
from lethe.descent.tuning import drawn
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"logits", "generate"}, paper="2310.08419", requires={"forget"}, check="R1",
    evidence_class="E2", unit="rounds", fields={"question"},
    budgets={"standard": ("rounds=2,8",), "thorough": ("rounds=3,12", "rounds=3,12,judge=answer")},
)  # fmt: skip
def pair(
    model: LanguageModel,
    request: Request,
    *,
    rounds: tuple[int, ...] = (1, 3),
    streams: int = 6,
    judge: Judge = "probability",
    endpoint: str = "",
    attacker: str = "",
    key_env: str = "",
    timeout: float = 60.0,
    retries: int = 2,
    new_tokens: int = 24,
    examples: int = 8,
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """An attacker proposes prompts and learns from their scores; the best on its share is asked with the others.

    Without an endpoint the attacker combines openings and endings of the built-in jailbreaks and exchanges one part at
    a time: no network, and the same seed makes the same prompts. With one it is a chat model, which is sent questions
    of the attacker's share, the attacked model's replies (with them goes what it still knows) and their scores, and no
    answer of the records; what it makes of them can differ from run to run. PAIR writes a prompt for each goal and
    stops when its judge is content; here one prompt is for all, chosen on records that are not scored. A prompt that
    tells an answer, or does not fit, is never chosen.

    Args:
        rounds: Rounds after which the best prompt is looked at; 0 is the question as it stands.
        streams: Independent lines of attack, each with one proposal per round.
        judge: probability (mean probability of the answers) or answer (share of the replies in which it occurs).
        endpoint: Address of an OpenAI-compatible chat endpoint, as in http://127.0.0.1:8000/v1; none works offline.
        attacker: Name of the attacking model at the endpoint.
        key_env: Name of the environment variable that holds the endpoint's key; none sends no key.
        timeout: Seconds that one answer of the endpoint may take.
        retries: Further tries where the endpoint fails, or its reply holds no usable prompt.
        new_tokens: Tokens of a reply of the attacked model.
        examples: Records that prompts are judged by, drawn by the seed from the attacker's share; 0 takes all.
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        seed: Seed of all draws; the request's where none is given.

    Raises:
        InputError: If a number is out of range, a record is no question, the share leaves no record on one of the two
            sides, or the endpoint gives no usable answer.
    """
    for name, value in (("streams", streams), ("new_tokens", new_tokens)):
        if value < 1:
            raise InputError(f"pair: {name} is {value}; give 1 or more.")
    counts = [int(count) for count in increasing(rounds, "pair", "rounds")]
    for row, record in enumerate(request.forget, 1):
        if "question" not in record or "answer" not in record or "raw_prompt" in record:
            raise InputError(f"pair: forget row {row} ({record['id']!r}) is no question; give question and answer.")
    if not endpoint and (attacker or key_env):
        raise InputError("pair: attacker and key_env are those of an endpoint; give its address too, or none of them.")
    seed = request.seed if seed is None else seed
    held, others = held_and_others(request.forget, share, seed, "pair")
    who: Attacker = Combining(seed)
    if endpoint:
        who = Chatting(endpoint_at(endpoint, attacker, key_env=key_env, timeout=timeout, retries=retries), seed)
    found = best_prompts(
        model, drawn(held, examples, seed), others, who, judge=judge, rounds=counts[-1], streams=streams,
        new_tokens=new_tokens,
    )  # fmt: skip
    for count, (prompt, _) in enumerate(found):
        if count in counts:
            yield Tampered(model, float(count), [asked(record, prompt) for record in others])
