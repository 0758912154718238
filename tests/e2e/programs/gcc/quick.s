	.text
	.globl quick
	.type quick, @function
quick:
	mov $42, %eax
	ret
	.size quick, .-quick
	.section .note.GNU-stack,"",@progbits
