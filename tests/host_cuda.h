// CUDA kernels on the host, with every access to memory checked. The first part stands before the kernels' source; the
// second, HOST_CUDA_RUNTIME, is compiled by itself.
//
// The kernels are compiled for the thread sanitizer, which calls __tsan_read4(address) and its like before each access
// that is not to a plain local variable. Its own run time is not linked: the calls come here. So a launch stops before
// an access outside the kernel's arrays, before a write through const, and where two threads meet at one item, one of
// them writing, with no barrier in between. Blocks run one after the other, as do the threads of a block up to the next
// barrier; a thread that waits there keeps a stack of its own.

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace host_cuda {
struct Index { unsigned x, y, z; };
struct Now { Index thread, block, threads, blocks; };
#ifdef HOST_CUDA_RUNTIME
extern Now now;
#else
extern const Now now;  // as a thread sees it: so reading it is not an access
#endif
void synchronize(int line);
}  // namespace host_cuda

#ifndef HOST_CUDA_RUNTIME

#include <cmath>
#include <type_traits>
#include <utility>

#undef INFINITY  // NVRTC reads none of the host's headers
#undef NAN
#undef NULL

#define __global__ __attribute__((noinline))
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cuda_shared")))
#define __syncthreads() host_cuda::synchronize(__LINE__)
#define threadIdx host_cuda::now.thread
#define blockIdx host_cuda::now.block
#define blockDim host_cuda::now.threads
#define gridDim host_cuda::now.blocks

using std::abs, std::ceil, std::exp, std::expm1, std::fabs, std::floor, std::fmax, std::fmin, std::isfinite, std::isinf;
using std::isnan, std::log, std::log1p, std::pow, std::sqrt, std::tanh;
template <class T> T rsqrt(T x) { return 1 / sqrt(x); }
template <class A, class B> std::common_type_t<A, B> max(A a, B b) {
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return fmax(a, b);  // NaN loses
    else return std::common_type_t<A, B>(a) < std::common_type_t<A, B>(b) ? b : a;
}
template <class A, class B> std::common_type_t<A, B> min(A a, B b) {
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return fmin(a, b);
    else return std::common_type_t<A, B>(b) < std::common_type_t<A, B>(a) ? b : a;
}

namespace host_cuda {
template <class T> constexpr char kind = std::is_floating_point_v<T> ? 'f'
    : !std::is_integral_v<T> ? '?' : std::is_same_v<T, bool> ? 'b' : std::is_unsigned_v<T> ? 'u' : 'i';
template <class P> struct Parameter {  // as text: pointer or value, const or mutable, and NumPy's letter and size
    using T = std::remove_pointer_t<P>;
    static constexpr char pointer = std::is_pointer_v<P> ? 'p' : 'v', constant = std::is_const_v<T> ? 'c' : 'm';
    static constexpr char letter = kind<std::remove_cv_t<T>>, size = '0' + sizeof(T);
};
template <class... P> struct Signature {
    using Q = std::index_sequence_for<P...>;
    static constexpr char text[][5] = {
        {Parameter<P>::pointer, Parameter<P>::constant, Parameter<P>::letter, Parameter<P>::size, ' '}..., {0}};
};
template <class... P> Signature<P...> signature(void (*)(P...));
template <class... P, size_t... I>
__attribute__((no_sanitize("thread"))) void call(void (*kernel)(P...), void** a, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(a[I])...);
}
}  // namespace host_cuda

#define HOST_CUDA_EXPORT(name, threads)                                                              \
    EXPORT const char* host_cuda_signature_##name() { return decltype(host_cuda::signature(name))::text[0]; } \
    EXPORT int host_cuda_threads_##name() { return threads; }                                        \
    EXPORT void host_cuda_call_##name(void** a) { host_cuda::call(name, a, decltype(host_cuda::signature(name))::Q()); }

#else

#include <csetjmp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

namespace host_cuda {

struct Cell {  // who touched an item last, and when: after which barrier, counted through the launch
    uint32_t wrote, read;
    uint16_t writer, reader;
    bool read_by_another_block;
};
constexpr uint16_t SEVERAL = 0xFFFF;  // readers

struct Region { char *start, *stop; int item, writable; Cell* cells; };  // an array, or the shared memory of the block

enum Kind { NONE, OUTSIDE, CONSTANT, RACE, BARRIER };
struct Fault {
    int kind, write, other, size;  // other: the thread that was there before, −1 for one of another block
    const void* address;
    Index block, thread;
};

constexpr size_t STACK = 1 << 18;
struct Fiber {
    ucontext_t context;
    jmp_buf at;
    char* stack = static_cast<char*>(malloc(STACK));
    bool started = false, waits = false;
    int line;  // of the barrier where it waits
    Index thread;
};

Now now;
__attribute__((section("cuda_shared"), used)) char shared_begins;
extern "C" char __start_cuda_shared[], __stop_cuda_shared[];  // the linker's
Region* regions;  // the shared memory first
int region_count;
Fault* fault;
uint32_t barrier, first_barrier;  // barriers of this launch so far; when this block began
unsigned next_thread, finished, thread_count;
void (*kernel)(void**);
void** arguments;
jmp_buf scheduler;
Fiber* running;

void fail(int kind, const void* address, int size, bool write, int other = 0) {
    *fault = {kind, write, other, size, address, now.block, now.thread};
    _longjmp(scheduler, 1);
}

// ---- memory ---------------------------------------------------------------------------------------------------------

void touch(const void* address, int size, bool write) {
    auto at = static_cast<const char*>(address);
    for (Region* region = regions; region < regions + region_count; ++region) {
        if (at < region->start || at + size > region->stop) continue;
        if (write && !region->writable) fail(CONSTANT, at, size, write);
        bool global = region != regions;
        unsigned me = now.thread.x + now.threads.x * (now.thread.y + now.threads.y * now.thread.z);
        auto meets = [&](uint32_t when, uint16_t who) {
            if (global && when && when < first_barrier) fail(RACE, at, size, write, -1);
            if (when == barrier && who != me) fail(RACE, at, size, write, who);
        };
        Cell* last = region->cells + (at + size - 1 - region->start) / region->item;
        for (Cell* cell = region->cells + (at - region->start) / region->item; cell <= last; ++cell) {
            meets(cell->wrote, cell->writer);
            if (write) {
                if (cell->read_by_another_block) fail(RACE, at, size, write, -1);
                meets(cell->read, cell->reader);
                cell->wrote = barrier, cell->writer = me;
            } else {
                cell->read_by_another_block |= global && cell->read && cell->read < first_barrier;
                cell->reader = cell->read == barrier && cell->reader != me ? SEVERAL : me;
                cell->read = barrier;
            }
        }
        return;
    }
    if (size_t(at - running->stack) >= STACK) fail(OUTSIDE, at, size, write);  // else it is a local array
}

extern "C" {
#define ACCESS(n)                                                        \
    void __tsan_read##n(void* at) { touch(at, n, false); }               \
    void __tsan_write##n(void* at) { touch(at, n, true); }               \
    void __tsan_unaligned_read##n(void* at) { touch(at, n, false); }     \
    void __tsan_unaligned_write##n(void* at) { touch(at, n, true); }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)
void __tsan_read_range(void* at, size_t n) { touch(at, n, false); }
void __tsan_write_range(void* at, size_t n) { touch(at, n, true); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}

// ---- threads --------------------------------------------------------------------------------------------------------

void leave(Fiber* self) {
    if (!_setjmp(self->at)) _longjmp(scheduler, 1);
}

void synchronize(int line) {
    Fiber* self = running;
    self->thread = now.thread, self->line = line, self->waits = true;
    leave(self);
    now.thread = self->thread;
}

void work() {  // on a fiber: one thread after the other, until one has to wait
    for (Fiber* self = running;;) {
        while (next_thread < thread_count) {
            unsigned t = next_thread++;
            now.thread = {t % now.threads.x, t / now.threads.x % now.threads.y, t / now.threads.x / now.threads.y};
            kernel(arguments);
            ++finished;
        }
        self->waits = false;
        leave(self);
    }
}

void resume(Fiber* fiber) {  // until it leaves
    running = fiber;
    if (_setjmp(scheduler)) return;
    if (fiber->started) _longjmp(fiber->at, 1);
    fiber->started = true;
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK;
    makecontext(&fiber->context, work, 0);
    setcontext(&fiber->context);
}

void run_block() {
    static Fiber* fibers[1025];  // made when first needed; those that wait stand first
    unsigned waiting = 0;
    memset(__start_cuda_shared, 0xFF, __stop_cuda_shared - __start_cuda_shared);
    first_barrier = ++barrier;
    next_thread = finished = 0;
    while (next_thread < thread_count && !fault->kind) {
        if (!fibers[waiting]) fibers[waiting] = new Fiber;
        resume(fibers[waiting]);
        waiting += fibers[waiting]->waits;
    }
    while (waiting && !fault->kind) {
        for (Fiber** one = fibers; one < fibers + waiting; ++one)
            if ((*one)->waits && (finished || (*one)->line != fibers[0]->line)) {
                *fault = {BARRIER, 0, finished ? 0 : fibers[0]->line, (*one)->line, nullptr, now.block, (*one)->thread};
                break;
            }
        ++barrier;
        for (unsigned i = 0; i < waiting && !fault->kind; ++i) resume(fibers[i]);
        if (finished == thread_count) waiting = 0;
    }
    if (fault->kind)
        for (Fiber** one = fibers; *one; ++one) (*one)->started = false;
}

EXPORT void host_cuda_launch(
    void (*call)(void**), void** values, const Now* shape, const Region* arrays, int array_count, Fault* found) {
    now = *shape, kernel = call, arguments = values, fault = found, barrier = 0;
    thread_count = now.threads.x * now.threads.y * now.threads.z;
    region_count = array_count + 1;
    regions = new Region[region_count];
    regions[0] = {__start_cuda_shared, __stop_cuda_shared, 1, true, nullptr};
    memcpy(regions + 1, arrays, array_count * sizeof *regions);
    for (Region* one = regions; one < regions + region_count; ++one)
        one->cells = static_cast<Cell*>(calloc((one->stop - one->start) / one->item + 1, sizeof(Cell)));
    for (unsigned b = 0; b < now.blocks.x * now.blocks.y * now.blocks.z && !fault->kind; ++b) {
        now.block = {b % now.blocks.x, b / now.blocks.x % now.blocks.y, b / now.blocks.x / now.blocks.y};
        run_block();
    }
    for (Region* one = regions; one < regions + region_count; ++one) free(one->cells);
    delete[] regions;
}

}  // namespace host_cuda

#endif
