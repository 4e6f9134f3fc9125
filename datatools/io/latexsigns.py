"""LaTeX commands as data: the signs they stand for, and those that go with their arguments."""

from __future__ import annotations

# fmt: off
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ", "eta":
    "η", "theta": "θ", "vartheta": "ϑ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi":
    "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma":
    "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}
SIGNS = {
    "times": "×", "div": "÷", "pm": "±", "mp": "∓", "cdot": "·", "ast": "*", "star": "*", "leq": "≤", "le": "≤",
    "leqslant": "≤", "geqslant": "≥", "geq": "≥", "ge": "≥", "neq": "≠", "ne": "≠", "approx": "≈", "sim": "~",
    "equiv": "≡", "propto": "∝", "infty": "∞", "to": "→", "rightarrow": "→", "longrightarrow": "→",
    "xrightarrow": "→", "leftarrow": "←", "leftrightarrow": "↔", "Rightarrow": "⇒", "rightleftharpoons": "⇌",
    "uparrow": "↑", "downarrow": "↓", "circ": "°", "degree": "°", "textdegree": "°", "celsius": "℃",
    "textcelsius": "℃", "prime": "′", "sum": "∑", "int": "∫", "partial": "∂", "angle": "∠", "cdots": "…",
    "ldots": "…", "dots": "…", "textellipsis": "…", "percent": "%", "permil": "‰", "textperthousand": "‰",
    "textasciitilde": "~", "textasciicircum": "^", "textbackslash": "\\", "textbar": "|", "textless": "<",
    "textgreater": ">", "textbullet": "•", "textendash": "–", "textemdash": "—", "textquotesingle": "'",
    "textquotedblleft": "“", "textquotedblright": "”", "textmu": "μ", "textregistered": "®", "texttrademark": "™",
    "textcopyright": "©", "copyright": "©", "S": "§", "quad": " ", "qquad": " ", "space": " ", "checkmark": "✓",
    "square": "□", "log": "log", "ln": "ln", "exp": "exp", "max": "max", "min": "min", "lg": "lg", "sin": "sin",
    "cos": "cos", "tan": "tan", "lt": "<", "gt": ">", "par": "\n\n", "newline": "\n", "tabularnewline": "\\\\",
    "LaTeX": "LaTeX", "TeX": "TeX", "ss": "ß", "oe": "œ", "ae": "æ", "o": "ø", "aa": "å", "AA": "Å", "micro": "μ",
} | GREEK
# Commands that go with their first arguments; options in brackets go with every command.
GO_WITH_ONE = (
    "label", "vspace", "hspace", "includegraphics", "input", "include", "captionsetup", "bibliographystyle",
    "bibliography", "pagestyle", "thispagestyle", "usepackage", "cite", "citep", "citet", "nocite", "index",
    "linethickness", "cline", "cmidrule", "fontsize", "color", "phantom", "vphantom", "hphantom", "pagenumbering",
    "hypersetup", "ctexset", "counterwithout", "counterwithin", "stepcounter", "refstepcounter", "documentclass",
    "date", "author", "title", "graphicspath", "pageref", "eqref", "bibitem", "setmainfont", "setCJKmainfont",
    "arraystretch", "rowcolor", "cellcolor", "selectlanguage", "urlstyle", "UseMicrotypeSet",
    # and with these the text comes after that argument
    "hyperlink", "hypertarget", "href", "textcolor", "colorbox", "parbox", "scalebox", "raisebox", "rotatebox",
    "captionof", "fontspec",
)
GO_WITH_TWO = (
    "setlength", "addtolength", "setcounter", "addtocounter", "renewcommand", "newcommand", "providecommand",
    "rule", "fancyhf", "definecolor", "newenvironment", "theoremstyle",
    # and with these the text comes after those two
    "multicolumn", "multirow", "resizebox", "fcolorbox",
)
# fmt: on
