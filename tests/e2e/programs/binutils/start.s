	.text
	.globl _start
	.type _start, @function
_start:
	call one
	mov %rax, %rsi
	mov $1, %edi
	mov $12, %edx
	mov $1, %eax
	syscall
	xor %edi, %edi
	mov $60, %eax
	syscall
	.size _start, .-_start
	.section .note.GNU-stack,"",@progbits
