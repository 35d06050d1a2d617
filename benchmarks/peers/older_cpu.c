/* LD_PRELOAD: lets a program see the processor as one without some instructions (OLDER_CPU = a level below).
 *
 * CPUID faults (arch_prctl(2), ARCH_SET_CPUID, Linux on x86 with the flag cpuid_fault), and the handler answers
 * with bits of leaf 7 taken away (Intel SDM volume 2A, CPUID). What asks CPUID takes the kernels of that level;
 * they run at this processor's clock and caches. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define BIT(n) (1u << (n))
enum { EAX, EBX, ECX, EDX };

static const uint32_t AVX512_EBX = BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31);
static const uint32_t AVX512_ECX = BIT(1) | BIT(6) | BIT(12) | BIT(14);
static const uint32_t AMX_EDX = BIT(22) | BIT(24) | BIT(25);
static uint32_t hidden[2][4]; /* by subleaf and register */

static void allow_cpuid(long on) { syscall(SYS_arch_prctl, ARCH_SET_CPUID, on); }

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    (void)info;
    if (code[0] != 0x0f || code[1] != 0xa2) { /* a fault of the program's own */
        signal(number, SIG_DFL);
        return;
    }
    uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX], r[4];
    allow_cpuid(1);
    __asm__ volatile("cpuid" : "=a"(r[EAX]), "=b"(r[EBX]), "=c"(r[ECX]), "=d"(r[EDX]) : "a"(leaf), "c"(subleaf));
    allow_cpuid(0);
    for (int i = EAX; leaf == 7 && subleaf < 2 && i <= EDX; i++) r[i] &= ~hidden[subleaf][i];
    registers[REG_RAX] = r[EAX], registers[REG_RBX] = r[EBX];
    registers[REG_RCX] = r[ECX], registers[REG_RDX] = r[EDX];
    registers[REG_RIP] += 2;
}

static int choose(const char *level) {
    hidden[0][EDX] = AMX_EDX;
    if (!strcmp(level, "avx512_vnni")) return 1;
    hidden[0][ECX] = BIT(11);                       /* AVX512_VNNI */
    if (!strcmp(level, "avx_vnni") || !strcmp(level, "avx2")) {
        hidden[0][EBX] = AVX512_EBX, hidden[0][ECX] |= AVX512_ECX, hidden[0][EDX] |= BIT(23);
    }
    if (!strcmp(level, "avx_vnni")) return 1;
    hidden[1][EAX] = BIT(4) | BIT(5), hidden[1][EDX] = BIT(4) | BIT(5); /* AVX_VNNI, AVX_VNNI_INT8 */
    return !strcmp(level, "avx512") || !strcmp(level, "avx2");
}

__attribute__((constructor)) static void start(void) {
    const char *level = getenv("OLDER_CPU");
    if (level == NULL) return;
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (!choose(level) || sigaction(SIGSEGV, &action, NULL) || syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0)) {
        fprintf(stderr, "older_cpu: cannot show a processor of level %s\n", level);
        _exit(125);
    }
}
