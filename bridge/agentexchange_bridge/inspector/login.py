"""The page that asks for the token: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Final

__all__ = ["login_page"]

_STYLE: Final = """
:root{color-scheme:light dark;--page:#f5f7fa;--card:#fff;--text:#17202e;--soft:#55617a;--line:#d8dee8;--blue:#1f5fd0}
@media(prefers-color-scheme:dark){:root{--page:#0f141b;--card:#171e28;--text:#e6ebf2;--soft:#9aa7bb;--line:#2b3544;--blue:#7aa7ff}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,sans-serif}
main{width:min(23rem,calc(100vw - 2rem));padding:1.75rem;background:var(--card);
border:1px solid var(--line);border-radius:12px}
h1{margin:0 0 .25rem;font-size:1.25rem}p{margin:0 0 1.25rem;color:var(--soft);font-size:.9rem}
label{display:block;font-size:.85rem;margin-bottom:.35rem}
input,button{width:100%;font:inherit;padding:.6rem .75rem;border-radius:8px}
input{border:1px solid var(--line);background:var(--page);color:var(--text);margin-bottom:1rem}
button{border:0;background:#1f5fd0;color:#fff;font-weight:600;cursor:pointer}
input:focus-visible,button:focus-visible{outline:2px solid var(--blue);outline-offset:2px}
[role=alert]{color:var(--text);border-left:3px solid #d0453b;padding-left:.6rem;margin-bottom:1rem}
"""


def login_page(*, target: str, problem: str = "") -> bytes:
    """The form. ``target`` is where to go afterwards, a path on this server; ``problem`` is said above the form."""
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>AgentExchange inspector: sign in</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body><main>'
        "<h1>AgentExchange inspector</h1><p>The token was printed where the inspector was started, or is in its "
        f"token file.</p>{alert}"
        f'<form method="post" action="/login"><input type="hidden" name="target" value="{escape(target)}">'
        '<label for="token">Token</label><input id="token" name="token" type="password" required autofocus '
        'autocomplete="current-password"><button>Sign in</button></form></main></body></html>'
    ).encode()
