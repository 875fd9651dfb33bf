#include "cmd/progress.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/terminal.h"

namespace kubedr::cmd {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A step that is over sooner leaves no line in a log.
constexpr seconds kQuiet{10};
constexpr seconds kLogPause{30};
constexpr milliseconds kLinePause{200};
constexpr seconds kJsonPause{1};
constexpr seconds kRateSpan{5};

milliseconds pause_of(ProgressStyle style) {
  switch (style) {
  case ProgressStyle::line:
    return kLinePause;
  case ProgressStyle::log:
  case ProgressStyle::json:
  case ProgressStyle::none:
    return kJsonPause;
  }
  return kJsonPause;
}

double seconds_of(SteadyTime::duration time) {
  return duration<double>(time).count();
}

std::string human_seconds(double count) {
  return human_duration(seconds(static_cast<std::int64_t>(count)));
}

// What a line that is redrawn may fill: one that wraps could not be taken back.
std::size_t columns() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1U : 79U;
}

}  // namespace

ProgressStyle progress_style(const std::string& flag, bool quiet, bool terminal) {
  if (quiet || flag == "none") return ProgressStyle::none;
  if (flag == "json") return ProgressStyle::json;
  return terminal ? ProgressStyle::line : ProgressStyle::log;
}

ProgressReport::ProgressReport(ProgressStyle style, const Clock& clock)
    : style_(style), clock_(clock) {
  if (style_ == ProgressStyle::none) return;
  watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

ProgressReport::~ProgressReport() {
  end(true);
}

void ProgressReport::begin(std::string_view step, std::uint64_t total_bytes) {
  if (style_ == ProgressStyle::none) return;
  const std::lock_guard lock(mutex_);
  finish(State::done);
  step_.emplace();
  bytes_ = 0;
  step_->name = step;
  step_->total = total_bytes;
  step_->begun = clock_.steady();
  take_sample(step_->begun);
  if (style_ != ProgressStyle::log) show(step_->begun);
  changed_.notify_all();
}

void ProgressReport::advance(std::uint64_t bytes) {
  bytes_ += bytes;
}

void ProgressReport::end(bool done) {
  const std::lock_guard lock(mutex_);
  finish(done ? State::done : State::failed);
}

void ProgressReport::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    changed_.wait(lock, stop, [this] { return step_.has_value(); });
    // Not woken by what it waits for, only by the end: a rate needs equal distances.
    changed_.wait_for(lock, stop, pause_of(style_), [] { return false; });
    if (!step_) continue;
    const SteadyTime now = clock_.steady();
    take_sample(now);
    show(now);
  }
}

// What a step leaves behind.
void ProgressReport::finish(State state) {
  if (!step_) return;
  const SteadyTime now = clock_.steady();
  take_sample(now);
  if (style_ == ProgressStyle::line) write_to_stderr("\r\033[K");
  if (style_ == ProgressStyle::json) show_json(now, state);
  if (style_ == ProgressStyle::log && step_->told) {
    const std::string bytes = step_->done > 0 ? human_size(step_->done) + " " : "";
    write_to_stderr(fmt::format("{}: {}{}in {}\n", step_->name,
                                state == State::failed ? "failed, " : "", bytes,
                                human_seconds(seconds_of(now - step_->begun))));
  }
  step_.reset();
}

void ProgressReport::take_sample(SteadyTime now) {
  step_->done = bytes_;
  step_->samples.push_back({now, step_->done});
  while (now - step_->samples.front().time > kRateSpan) step_->samples.pop_front();
}

// Bytes a second, of the last seconds.
double ProgressReport::rate() const {
  const Sample& first = step_->samples.front();
  const Sample& last = step_->samples.back();
  const double time = seconds_of(last.time - first.time);
  return time > 0 ? static_cast<double>(last.bytes - first.bytes) / time : 0;
}

void ProgressReport::show(SteadyTime now) {
  if (style_ == ProgressStyle::line) return show_line(now);
  if (style_ == ProgressStyle::json) return show_json(now, State::under_way);
  show_log(now);
}

void ProgressReport::show_line(SteadyTime now) {
  const std::string line = fmt::format("{}  {}", step_->name, measures(now, "  "));
  write_to_stderr("\r\033[K" + line.substr(0, columns()));
}

void ProgressReport::show_log(SteadyTime now) {
  const bool due = step_->told ? now - shown_ >= kLogPause : now - step_->begun >= kQuiet;
  if (!due) return;
  write_to_stderr(fmt::format("{}: {}\n", step_->name, measures(now, ", ")));
  step_->told = true;
  shown_ = now;
}

void ProgressReport::show_json(SteadyTime now, State state) const {
  const double elapsed = seconds_of(now - step_->begun);
  const double speed = state != State::under_way && elapsed > 0
                           ? static_cast<double>(step_->done) / elapsed
                           : rate();
  Json progress = {
      {"step", step_->name},          {"bytesDone", step_->done},
      {"bytesTotal", nullptr},        {"bytesPerSecond", static_cast<std::uint64_t>(speed)},
      {"secondsElapsed", elapsed},    {"secondsLeft", nullptr},
      {"done", state == State::done}, {"failed", state == State::failed}};
  if (step_->total > 0) {
    const std::uint64_t total = std::max(step_->total, step_->done);
    progress["bytesTotal"] = total;
    if (speed > 0) progress["secondsLeft"] = static_cast<double>(total - step_->done) / speed;
  }
  write_to_stderr(Json{{"progress", progress}}.dump() + "\n");
}

// "84.1 MiB of 1 GiB  8%  42 MiB/s  22s left"; without bytes the time it has taken.
std::string ProgressReport::measures(SteadyTime now, std::string_view gap) const {
  if (step_->done == 0) return human_seconds(seconds_of(now - step_->begun));
  const double speed = rate();
  std::string text = human_size(step_->done);
  if (step_->total > step_->done) {
    text +=
        fmt::format(" of {}{}{}%", human_size(step_->total), gap, step_->done * 100 / step_->total);
  }
  text += fmt::format("{}{}/s", gap, human_size(static_cast<std::uint64_t>(speed)));
  if (step_->total > step_->done && speed > 0) {
    const double left = static_cast<double>(step_->total - step_->done) / speed;
    text += fmt::format("{}{} left", gap, human_seconds(left));
  }
  return text;
}

}  // namespace kubedr::cmd
