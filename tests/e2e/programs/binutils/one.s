	.file "one.c"
	.text
	.globl one
	.type one, @function
one:
	lea message(%rip), %rax
	ret
	.size one, .-one
	.section .rodata
message: .string "one and only"
	.section .note.GNU-stack,"",@progbits
