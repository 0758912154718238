%{
#include <stdio.h>
int yylex(void);
static void yyerror(const char *why) { fprintf(stderr, "%s\n", why); }
%}
%token NUMBER
%left '+' '-'
%left '*'
%%
lines: | lines line ;
line: sum '\n' { printf("%d\n", $1); } ;
sum: NUMBER | sum '+' sum { $$ = $1 + $3; } | sum '-' sum { $$ = $1 - $3; }
   | sum '*' sum { $$ = $1 * $3; } | '(' sum ')' { $$ = $2; } ;
%%
int main(void) { return yyparse(); }
