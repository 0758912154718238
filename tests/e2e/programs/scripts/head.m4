define(`row', `$1 squared is $2')dnl
