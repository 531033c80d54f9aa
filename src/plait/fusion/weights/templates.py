# SPDX-License-Identifier: Apache-2.0
"""Chat templates: the one that most models have, one by name, or one that a recipe holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from plait.errors import BadInput
from plait.fusion.weights.checkpoints import MAX_CONFIG, Checkpoint, read_json
from plait.recipes.parameters import hint

FILE = "chat_template.jinja"
_TURNS = "{% for message in messages %}"

TEMPLATES = {
    "chatml": _TURNS + "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "alpaca": _TURNS + "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}"
    "{{ '### Instruction:\\n' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ '### Response:\\n' + message['content'] + eos_token + '\\n\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}",
    "llama3": "{{ bos_token }}" + _TURNS + "{{ '<|start_header_id|>' + message['role']"
    " + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "mistral": "{{ bos_token }}" + _TURNS + "{% if message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] | trim + eos_token }}{% else %}"
    "{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}{% endif %}{% endfor %}",
    "exaone": _TURNS + "{{ '[|' + message['role'] + '|]' + message['content'] }}"
    "{% if message['role'] == 'user' %}{{ '\\n' }}{% else %}{{ '[|endofturn|]\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}",
}


def chosen_template(asked: str, models: Mapping[str, Checkpoint]) -> str | None:
    """Return the template that a recipe asks for; None for `auto` if no model has any.

    Raises:
        BadInput: if there is none of that name.
    """
    if asked == "auto":
        have = [t for t in (_template(m.folder) for m in models.values()) if t]
        # of equally frequent ones the first model's: a counter keeps the order
        return Counter(have).most_common(1)[0][0] if have else None
    if asked in TEMPLATES:
        return TEMPLATES[asked]
    if "{" not in asked:
        raise BadInput(
            f"There is no chat template '{asked[:60]}'{hint(asked, ('auto', *TEMPLATES))} "
            f"Templates: auto, {', '.join(TEMPLATES)}, or the text of one."
        )
    return asked


def _template(folder: Path) -> str | None:
    path = folder / FILE
    if path.is_file() and path.stat().st_size <= MAX_CONFIG:
        return path.read_text("utf-8", "replace")
    found = read_json(folder / "tokenizer_config.json", MAX_CONFIG).get("chat_template")
    return found if isinstance(found, str) else None
