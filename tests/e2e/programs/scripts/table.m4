divert(-1)
define(`forloop', `pushdef(`$1', `$2')_forloop($@)popdef(`$1')')
define(`_forloop', `$4`'ifelse($1, `$3', `', `define(`$1', incr($1))$0($@)')')
divert`'dnl
include(`head.m4')dnl
forloop(`i', 1, 20, `row(i, eval(i * i))
')dnl
syscmd(`echo from a shell')dnl
