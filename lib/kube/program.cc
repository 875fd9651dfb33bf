#include "kube/program.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <new>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"

namespace kubedr::kube {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds kLook{50};    // how soon a stop is seen
constexpr milliseconds kClosing{2};  // between the end of its output and its own
constexpr milliseconds kGrace{1000};

[[noreturn]] void fail_to_start(const fs::path& path, int number) {
  throw Error(ErrorKind::failed, fmt::format("fork/exec {}: {}", path.string(),
                                             to_lower(std::generic_category().message(number))));
}

// posix_spawn's own plain C values, freed when they go.
struct Actions {
  Actions() {
    if (posix_spawn_file_actions_init(&value) != 0) throw std::bad_alloc();
  }

  ~Actions() { posix_spawn_file_actions_destroy(&value); }

  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  posix_spawn_file_actions_t value{};
};

struct Attributes {
  Attributes() {
    if (posix_spawnattr_init(&value) != 0) throw std::bad_alloc();
  }

  ~Attributes() { posix_spawnattr_destroy(&value); }

  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  posix_spawnattr_t value{};
};

void wait_a_moment(int fd, milliseconds time) {
  pollfd ready{fd, POLLIN, 0};  // a negative one is passed over
  poll(&ready, 1, static_cast<int>(time.count()));
}

// A running child; ended and reaped when it goes.
class Child {
 public:
  Child(pid_t pid, bool leads_group) : pid_(pid), leads_group_(leads_group) {}

  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  ~Child() {
    if (pid_ < 0) return;
    signal(SIGTERM);
    for (milliseconds waited{0}; waited < kGrace && !has_ended(); waited += kLook) {
      wait_a_moment(-1, kLook);
    }
    signal(SIGKILL);  // those in its group who outlived it
    if (pid_ >= 0) waitpid(pid_, &status_, 0);
  }

  bool has_ended() {
    if (pid_ < 0) return true;
    const pid_t result = waitpid(pid_, &status_, WNOHANG);
    if (result == 0 || (result < 0 && errno == EINTR)) return false;
    pid_ = -1;
    return true;
  }

  int code() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1; }

 private:
  void signal(int number) const {
    if (leads_group_) {
      kill(-group_, number);
    } else if (pid_ >= 0) {
      kill(pid_, number);
    }
  }

  pid_t pid_;
  const pid_t group_ = pid_;
  const bool leads_group_;
  int status_ = 0;
};

bool has_terminal() {
  return FileDescriptor(::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC)).valid();
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  // exec's types predate const; nothing is written to them.
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// Our threads block signals and we ignore some: neither is for others to inherit.
void set_attributes(Attributes& attributes, bool leads_group) {
  sigset_t none;
  sigemptyset(&none);
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int number : {SIGPIPE, SIGHUP, SIGINT, SIGTERM}) sigaddset(&defaults, number);
  posix_spawnattr_setsigmask(&attributes.value, &none);
  posix_spawnattr_setsigdefault(&attributes.value, &defaults);
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (leads_group) flags |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setflags(&attributes.value, static_cast<short>(flags));
}

pid_t start(const Program& program, int output, bool leads_group) {
  Actions actions;
  Attributes attributes;
  set_attributes(attributes, leads_group);
  if (!program.reads_input) {
    posix_spawn_file_actions_addopen(&actions.value, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  }
  posix_spawn_file_actions_adddup2(&actions.value, output, STDOUT_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions.value, STDERR_FILENO + 1);

  std::vector<std::string> words = {program.path.string()};
  words.insert(words.end(), program.arguments.begin(), program.arguments.end());
  pid_t pid = -1;
  const int error = posix_spawn(&pid, program.path.c_str(), &actions.value, &attributes.value,
                                pointers(words).data(), pointers(program.environment).data());
  if (error != 0) fail_to_start(program.path, error);
  return pid;
}

// Appends what is there now; false once nothing more can come.
bool drain(int fd, Bytes& output, std::size_t limit, const Program& program) {
  std::array<std::uint8_t, 4096> buffer{};
  while (true) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 && errno == EAGAIN;
    append(output, ByteView(buffer.data(), static_cast<std::size_t>(count)));
    wipe(buffer.data(), buffer.size());
    if (output.size() > limit) {
      throw Error(ErrorKind::corrupt, fmt::format("executable {} writes more than {} bytes",
                                                  program.path.string(), limit));
    }
  }
}

bool is_program(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

}  // namespace

ProgramEnd run_program(const Program& program, std::size_t max_output, const Call& call) {
  call.require_live();
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) fail_to_start(program.path, errno);
  const FileDescriptor output(ends[0]);
  FileDescriptor its_side(ends[1]);
  fcntl(output.get(), F_SETFL, O_NONBLOCK);
  const bool leads_group = !has_terminal();
  Child child(start(program, its_side.get(), leads_group), leads_group);
  its_side = FileDescriptor();

  ProgramEnd end;
  end.output.reserve(max_output);  // a token that moves as it grows would stay behind
  bool open = true;
  bool ended = false;
  while (!ended) {
    call.require_live();
    wait_a_moment(open ? output.get() : -1, open ? kLook : kClosing);
    ended = child.has_ended();  // before the last look at what it wrote
    open = open && drain(output.get(), end.output, max_output, program);
  }
  end.code = child.code();
  return end;
}

std::filesystem::path find_program(const std::string& name, const std::string& path_variable) {
  if (name.find('/') != std::string::npos) return is_program(name) ? fs::path(name) : fs::path();
  for (const std::string& folder : split(path_variable, ':')) {
    if (!folder.starts_with('/')) continue;
    const fs::path candidate = fs::path(folder) / name;
    if (is_program(candidate)) return candidate;
  }
  return {};
}

}  // namespace kubedr::kube
