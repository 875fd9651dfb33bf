#include "support/process.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>

#include "support/temp_dir.h"

namespace kubedr::test {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// Output goes to files in memory, not pipes: nothing to drain, so no program can block on us and
// no grandchild that keeps them open can make us wait.
FileDescriptor memory_file(const char* name) {
  FileDescriptor file(::memfd_create(name, MFD_CLOEXEC));
  if (!file.valid()) fail("memfd_create");
  return file;
}

FileDescriptor file_with(std::string_view text) {
  FileDescriptor file = memory_file("stdin");
  write_full(file.get(), as_bytes(text), "stdin");
  if (::lseek(file.get(), 0, SEEK_SET) != 0) fail("lseek");
  return file;
}

FileDescriptor another(const FileDescriptor& file) {
  FileDescriptor copy(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) fail("dup");
  return copy;
}

std::string content_of(const FileDescriptor& file) {
  std::string text;
  std::array<char, 65536> buffer{};
  while (file.valid()) {
    const ssize_t n =
        ::pread(file.get(), buffer.data(), buffer.size(), static_cast<off_t>(text.size()));
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

std::vector<std::string> environment(const ProcessOptions& options) {
  std::map<std::string, std::string> variables = options.env;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals == std::string::npos) continue;
    if (options.inherit_env || name == "PATH" || name == "HOME") {
      variables.emplace(name, text.substr(equals + 1));
    }
  }
  std::vector<std::string> lines;
  for (const auto& [name, value] : variables) lines.push_back(name + "=" + value);
  return lines;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// What the child needs, made before the fork: after it only async-signal-safe calls are allowed.
struct Start {
  std::array<int, 3> streams{};
  bool terminal = false;
  const char* cwd = nullptr;
  char** argv = nullptr;
  char** env = nullptr;
  pid_t parent = 0;
};

[[noreturn]] void become(const Start& start) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != start.parent) ::_exit(126);  // the test died in between
  if (start.terminal) {
    ::setsid();
    ::ioctl(start.streams[0], TIOCSCTTY, 0);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  for (int stream = 0; stream < 3; ++stream) {
    ::dup2(start.streams[static_cast<std::size_t>(stream)], stream);
  }
  if (start.cwd != nullptr && ::chdir(start.cwd) != 0) ::_exit(126);
  ::execvpe(start.argv[0], start.argv, start.env);
  constexpr std::string_view kNotStarted = "the program could not be started\n";
  [[maybe_unused]] const ssize_t ignored = ::write(2, kNotStarted.data(), kNotStarted.size());
  ::_exit(127);
}

// Returns once the child is the program, or has ended: then nobody has the other end open.
void wait_for_exec(const FileDescriptor& pipe) {
  char nothing = 0;
  while (::read(pipe.get(), &nothing, 1) < 0 && errno == EINTR) continue;
}

// The most it had in memory so far; 0 once it has ended.
std::size_t peak_memory(pid_t pid) {
  constexpr std::string_view kField = "VmHWM:";
  const std::string status = read_text(fmt::format("/proc/{}/status", pid));
  const std::size_t at = status.find(kField);
  return at == std::string::npos ? 0 : std::stoul(status.substr(at + kField.size())) * 1024;
}

std::chrono::microseconds cpu_time(const rusage& usage) {
  const auto span = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return span(usage.ru_utime) + span(usage.ru_stime);
}

}  // namespace

// The child's side of its three streams; ours to close once it has started.
struct Process::Streams {
  FileDescriptor in, out, err;
};

Process::Streams Process::open_streams(const ProcessOptions& options) {
  Streams child;
  if (options.terminal != Terminal::none) {
    int ours = -1;
    int theirs = -1;
    if (::openpty(&ours, &theirs, nullptr, nullptr, nullptr) != 0) fail("openpty");
    terminal_ = FileDescriptor(ours);
    child.in = FileDescriptor(theirs);
    ::fcntl(ours, F_SETFD, FD_CLOEXEC);
    ::fcntl(theirs, F_SETFD, FD_CLOEXEC);
    screen_ = memory_file("screen");
  } else {
    child.in = options.input.empty() ? open_file("/dev/null", O_RDONLY) : file_with(options.input);
  }
  if (options.terminal == Terminal::all) {
    child.out = another(child.in);
    child.err = another(child.in);
  } else if (!options.log.empty()) {
    child.out = open_file(options.log, O_WRONLY | O_CREAT | O_APPEND);
    child.err = another(child.out);
    log_file_ = options.log;
    log_.emplace(options.log);
  } else {
    out_ = memory_file("stdout");
    err_ = memory_file("stderr");
    child.out = another(out_);
    child.err = another(err_);
  }
  return child;
}

Process::Process(const std::vector<std::string>& argv, const ProcessOptions& options) {
  const Streams child = open_streams(options);
  std::vector<std::string> arguments = argv;
  std::vector<std::string> variables = environment(options);
  const std::vector<char*> argument_pointers = pointers(arguments);
  const std::vector<char*> variable_pointers = pointers(variables);
  Start start;
  start.streams = {child.in.get(), child.out.get(), child.err.get()};
  start.terminal = terminal_.valid();
  start.cwd = options.cwd.empty() ? nullptr : options.cwd.c_str();
  start.argv = const_cast<char**>(argument_pointers.data());
  start.env = const_cast<char**>(variable_pointers.data());
  start.parent = ::getpid();

  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("pipe");
  const FileDescriptor started(ends[0]);
  FileDescriptor starting(ends[1]);
  pid_ = ::fork();
  if (pid_ < 0) fail("fork");
  if (pid_ == 0) become(start);
  starting = FileDescriptor();
  wait_for_exec(started);
  peak_memory_bytes_ = peak_memory(pid_);

  // Not pidfd_open(): the header of glibc 2.36 declares it with C++ linkage.
  exited_ = FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!exited_.valid()) fail("pidfd_open");
  if (!terminal_.valid()) return;
  screen_keeper_ = std::jthread([this] { keep_screen(); });
  type(options.input);
}

Process::~Process() {
  if (exit_) return;
  kill(SIGKILL);
  wait(std::chrono::seconds(10));
}

void Process::kill(int signal) const {
  if (!exit_) ::kill(pid_, signal);
}

std::optional<Exit> Process::wait(std::chrono::milliseconds timeout) {
  if (exit_) return exit_;
  if (!wait_watching_memory(timeout)) return std::nullopt;
  int status = 0;
  rusage usage{};
  if (::wait4(pid_, &status, 0, &usage) != pid_) fail("wait4");
  if (screen_keeper_.joinable()) screen_keeper_.join();
  exit_.emplace();
  exit_->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  exit_->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  exit_->peak_memory_bytes = peak_memory_bytes_;
  exit_->cpu = cpu_time(usage);
  return exit_;
}

bool Process::wait_watching_memory(std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kInterval(10);
  const Clock::time_point until = Clock::now() + timeout;
  pollfd ended{exited_.get(), POLLIN, 0};
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    const auto pause = std::clamp(left, std::chrono::milliseconds(0), kInterval);
    if (::poll(&ended, 1, static_cast<int>(pause.count())) > 0) return true;
    if (const std::size_t peak = peak_memory(pid_); peak > 0) peak_memory_bytes_ = peak;
    if (left <= pause) return false;
  }
}

Exit Process::stop(std::chrono::milliseconds grace) {
  kill(SIGTERM);
  if (const std::optional<Exit> exit = wait(grace)) return *exit;
  kill(SIGKILL);
  return wait(std::chrono::seconds(10)).value();
}

std::string Process::out() const {
  return content_of(out_);
}

std::string Process::err() const {
  return content_of(err_);
}

std::string Process::screen() const {
  return content_of(screen_);
}

void Process::type(std::string_view text) const {
  write_full(terminal_.get(), as_bytes(text), "terminal");
}

bool Process::wait_for(std::string_view text, std::chrono::milliseconds timeout) const {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (true) {
    for (const std::string& seen : {out(), err(), screen(), read_text(log_file_)}) {
      if (seen.find(text) != std::string::npos) return true;
    }
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// A terminal holds only some KiB: what is not read stops the program. Reading fails with EIO once
// nobody has the other side open.
void Process::keep_screen() const {
  std::array<std::uint8_t, 4096> buffer{};
  while (true) {
    const ssize_t n = ::read(terminal_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    write_full(screen_.get(), {buffer.data(), static_cast<std::size_t>(n)}, "screen");
  }
}

RunResult run(const std::vector<std::string>& argv, const ProcessOptions& options,
              std::chrono::milliseconds timeout) {
  Process process(argv, options);
  RunResult result;
  result.timed_out = !process.wait(timeout);
  result.exit = result.timed_out ? process.stop(std::chrono::milliseconds(0)) : *process.wait({});
  result.out = process.out();
  result.err = process.err();
  result.screen = process.screen();
  return result;
}

}  // namespace kubedr::test
