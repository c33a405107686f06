#include "go_asm.h"
#include "textflag.h"

// Bytes of a token, by nibbles: lo[c&15] & hi[c>>4] is not zero for them. Bit 0 of lo stands for the row 0x2_ of the
// ASCII table, bit 1 for 0x3_, and so on up to bit 5 for 0x7_.
DATA tokenLo<>+0x00(SB)/8, $0x3f3e3f3e3e3e3f3a // 7 6 5 4 3 2 1 0
DATA tokenLo<>+0x08(SB)/8, $0x1c351514153d3e3e // f e d c b a 9 8
DATA tokenLo<>+0x10(SB)/8, $0x3f3e3f3e3e3e3f3a
DATA tokenLo<>+0x18(SB)/8, $0x1c351514153d3e3e
GLOBL tokenLo<>(SB), RODATA|NOPTR, $32

DATA tokenHi<>+0x00(SB)/8, $0x2010080402010000
DATA tokenHi<>+0x08(SB)/8, $0x0000000000000000
DATA tokenHi<>+0x10(SB)/8, $0x2010080402010000
DATA tokenHi<>+0x18(SB)/8, $0x0000000000000000
GLOBL tokenHi<>(SB), RODATA|NOPTR, $32

DATA nibbles<>+0x00(SB)/8, $0x0f0f0f0f0f0f0f0f
GLOBL nibbles<>(SB), RODATA|NOPTR, $8
DATA feeds<>+0x00(SB)/8, $0x0a0a0a0a0a0a0a0a
GLOBL feeds<>(SB), RODATA|NOPTR, $8
DATA returns<>+0x00(SB)/8, $0x0d0d0d0d0d0d0d0d
GLOBL returns<>(SB), RODATA|NOPTR, $8

// CLASSIFY reads the 64 bytes at (SI)(AT*1) and leaves, as bits: AX line feeds, BX no token, R13 carriage returns, R14 NULs.
#define CLASSIFY(AT) \
	VMOVDQU (SI)(AT*1), Y6          \
	VMOVDQU 32(SI)(AT*1), Y7        \
	VPCMPEQB Y6, Y3, Y8              \
	VPCMPEQB Y7, Y3, Y9              \
	VPMOVMSKB Y8, AX                 \
	VPMOVMSKB Y9, R15                \
	SHLQ $32, R15                    \
	ORQ R15, AX                      \
	VPSRLW $4, Y6, Y8                \
	VPSRLW $4, Y7, Y9                \
	VPAND Y8, Y2, Y8                 \
	VPAND Y9, Y2, Y9                 \
	VPSHUFB Y8, Y1, Y8               \
	VPSHUFB Y9, Y1, Y9               \
	VPSHUFB Y6, Y0, Y10              \
	VPSHUFB Y7, Y0, Y11              \
	VPAND Y8, Y10, Y8                \
	VPAND Y9, Y11, Y9                \
	VPCMPEQB Y8, Y5, Y8              \
	VPCMPEQB Y9, Y5, Y9              \
	VPMOVMSKB Y8, BX                 \
	VPMOVMSKB Y9, R15                \
	SHLQ $32, R15                    \
	ORQ R15, BX                      \
	VPCMPEQB Y6, Y4, Y8              \
	VPCMPEQB Y7, Y4, Y9              \
	VPMOVMSKB Y8, R13                \
	VPMOVMSKB Y9, R15                \
	SHLQ $32, R15                    \
	ORQ R15, R13                     \
	VPCMPEQB Y6, Y5, Y8              \
	VPCMPEQB Y7, Y5, Y9              \
	VPMOVMSKB Y8, R14                \
	VPMOVMSKB Y9, R15                \
	SHLQ $32, R15                    \
	ORQ R15, R14

// STORE writes the word of the bitmap and the offsets of the line feeds: three without a branch, since few blocks have more. It leaves
// in R13 where CR and LF do not go together or a NUL is, and in R15 the line feeds that end the header section. R9 and R10 carry
// the last bits of the block before.
#define STORE(LOOP, DONE) \
	MOVQ BX, (R8)                    \
	LEAQ (R10)(R13*2), BX            \
	SHRQ $63, R13                    \
	MOVQ R13, R10                    \
	LEAQ (R9)(AX*4), R15             \
	ANDQ AX, R15                     \
	ANDQ BX, R15                     \
	XORQ AX, BX                      \
	ORQ BX, R14                      \
	MOVQ AX, R9                      \
	SHRQ $62, R9                     \
	POPCNTQ AX, BX                   \
	LEAQ (DI)(BX*2), BX              \
	TZCNTQ AX, R13                   \
	ADDL DX, R13                     \
	MOVW R13, (DI)                   \
	BLSRQ AX, AX                     \
	TZCNTQ AX, R13                   \
	ADDL DX, R13                     \
	MOVW R13, 2(DI)                  \
	BLSRQ AX, AX                     \
	TZCNTQ AX, R13                   \
	ADDL DX, R13                     \
	MOVW R13, 4(DI)                  \
	BLSRQ AX, AX                     \
	JZ DONE                          \
LOOP:                                \
	TZCNTQ AX, R13                   \
	ADDL DX, R13                     \
	MOVW R13, 6(DI)                  \
	ADDQ $2, DI                      \
	BLSRQ AX, AX                     \
	JNZ LOOP                         \
DONE:                                \
	MOVQ BX, DI                      \
	MOVQ R14, R13

// func scanAVX2(b *byte, n int, ends *lineEnds, nt *bitmap) (end int, suspect uint64)
// n is at least 64.
TEXT ·scanAVX2(SB), NOSPLIT, $0-48
	MOVQ b+0(FP), SI
	MOVQ n+8(FP), CX
	MOVQ ends+16(FP), DI
	MOVQ nt+24(FP), R8
	LEAQ (const_MaxLineEnds*2)(DI), R12
	VMOVDQU tokenLo<>(SB), Y0
	VMOVDQU tokenHi<>(SB), Y1
	VPBROADCASTQ nibbles<>(SB), Y2
	VPBROADCASTQ feeds<>(SB), Y3
	VPBROADCASTQ returns<>(SB), Y4
	VPXOR Y5, Y5, Y5
	XORQ R9, R9
	XORQ R10, R10
	XORQ R11, R11
	XORQ DX, DX
	SUBQ $64, CX // the last place where 64 bytes can be read

block:
	CLASSIFY(DX)
	STORE(more, stored)
	TESTQ R15, R15
	JNZ found
	CMPQ DI, R12
	JHI lines
	ORQ R13, R11
	ADDQ $8, R8
	ADDQ $64, DX
	CMPQ DX, CX
	JLE block

	// What is left, if anything, is read together with bytes in front of it, which are shifted out.
	MOVQ CX, AX
	NEGQ CX
	ADDQ DX, CX // 64 - left
	CMPQ CX, $64
	JEQ none
	CLASSIFY(AX)
	SHRQ CX, AX
	SHRQ CX, BX
	SHRQ CX, R13
	SHRQ CX, R14
	STORE(moreLeft, storedLeft)
	TESTQ R15, R15
	JNZ found
	CMPQ DI, R12
	JHI lines

none:
	MOVQ $-1, end+32(FP)
	MOVQ $1, suspect+40(FP)
	VZEROUPPER
	RET

lines:
	MOVQ $-2, end+32(FP)
	MOVQ $1, suspect+40(FP)
	VZEROUPPER
	RET

found:
	BLSMSKQ R15, AX
	ANDQ AX, R13
	ORQ R13, R11
	TZCNTQ R15, AX
	ADDQ AX, DX
	MOVQ DX, end+32(FP)
	MOVQ R11, suspect+40(FP)
	VZEROUPPER
	RET
