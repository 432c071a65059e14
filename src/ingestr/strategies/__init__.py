"""How staged rows become the target table; every strategy emits SQL expressions and knows no engine."""
