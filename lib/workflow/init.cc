#include "workflow/init.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "crd/wording.h"
#include "workflow/location.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

constexpr std::chrono::minutes kOperatorTakes{2};
constexpr std::chrono::seconds kLook{1};

// The first that has all we need, of operators and of API servers.
constexpr std::pair<int, int> kNoOperatorSince{1, 22};

crd::Location apply_location(const Services& services, const InitRequest& request,
                             const Call& call) {
  if (request.location.empty() || request.bucket.empty() || request.credentials.empty()) {
    throw Error(ErrorKind::usage, "init: --url goes with a NAME, --bucket and --credentials",
                "give all four, or none and the name of a location that is there");
  }
  const NewLocation location{request.location, request.url, request.bucket, request.credentials,
                             std::nullopt};
  for (const Json& object : location_objects(services.cluster.name_space(), location)) {
    services.cluster.apply(object, call);
  }
  return services.cluster.location(request.location, call);
}

InitReport describe(const crd::Location& location, const std::string& url,
                    const repo::Repository& repository, bool created) {
  InitReport report;
  report.location = location.ref.name;
  report.repository_url = url;
  report.repository_id = repository.config().id;
  report.key_id = repository.key_id().hex();
  report.version = repository.config().version;
  report.created = created;
  return report;
}

int version_of(const Services& services, const InitRequest& request, const Call& call) {
  if (request.version != 0) return request.version;
  const auto server = services.cluster.server_version(call);
  const bool old = server && *server < kNoOperatorSince;
  return old || services.cluster.operator_runs(call) == true ? 1 : 2;
}

// It looks at a location once in each generation: a failure that it has published is its last word.
InitReport wait_for_operator(const Services& services, const crd::Location& created,
                             const Call& call) {
  const Call limited = call.within(kOperatorTakes);
  const std::string& name = created.ref.name;
  while (true) {
    const crd::Location location = services.cluster.location(name, limited);
    const crd::LocationStatus& status = location.status;
    const bool current =
        status.observed_generation.value_or(location.generation) == location.generation;
    if (current && status.init_status == "Completed") {
      InitReport report;
      report.location = name;
      report.repository_url = services.repository_url(location);
      report.by_operator = true;
      return report;
    }
    if (current && status.init_status == "Failed") {
      throw Error(ErrorKind::failed,
                  fmt::format("{}: the operator that runs here could not initialize it: {}",
                              location.ref.display(), trim(status.init_error_message)),
                  "mend that and say --force, or make the location anew");
    }
    if (limited.remaining() <= kLook) break;
    limited.sleep(kLook);
  }
  call.require_live();
  throw Error(ErrorKind::unavailable,
              fmt::format("{}: the operator that runs here has not initialized it yet",
                          created.ref.display()),
              fmt::format("kubectl -n {} logs {}-init-pod; --force does it without the operator",
                          created.ref.name_space, name));
}

// `stage` tells how far it came.
InitReport make_repository(const Services& services, const InitRequest& request,
                           const crd::Location& location, crd::InitStage& stage, const Call& call) {
  const OpenedStore opened = open_store(services, location, call);
  const std::string& url = opened.store->location();
  const auto open = [&] {
    return describe(location, url, open_repository_in(opened, services, location, call), false);
  };
  if (request.if_needed) {
    try {
      return open();
    } catch (const Error& error) {
      // No key may open it because there is none yet: an init that was killed left a config alone.
      const bool none_yet =
          error.kind() == ErrorKind::no_repository || error.kind() == ErrorKind::wrong_password;
      if (!none_yet) throw;
    }
  }
  const int version = version_of(services, request, call);
  if (opened.store->create(call)) log::info("{}: created", url);
  stage = crd::InitStage::key;
  std::optional<Afterwards> rest;
  const repo::InitRequest init_request{opened.password, version, services.owner.username,
                                       services.owner.hostname,
                                       [&] { return rest.emplace(call).call(); }};
  try {
    const auto made = repo::Repository::init(*opened.store, init_request, services.random, call);
    services.commit();
    return describe(location, url, made, true);
  } catch (const Error& error) {
    // Made by somebody else meanwhile, or another password's.
    if (error.kind() == ErrorKind::exists && request.if_needed) return open();
    if (error.kind() == ErrorKind::exists || !rest) throw;
    throw Error(error.kind(), error.what(), "`init --if-needed` finishes what was begun")
        .with(error.transport());
  }
}

std::string component_of(const Services& services, const crd::Location& location) {
  return services.pod_name.empty() ? location.ref.name + "-init-pod" : services.pod_name;
}

// What operator mode would have shown: restic's text on stderr.
std::string published_text(crd::InitStage stage, const std::string& url, const Error& error) {
  if (error.kind() == ErrorKind::exists) return crd::already_initialized(url);
  return crd::init_fatal(stage, url, error.what());
}

void publish_failure(const Services& services, const crd::Location& location,
                     const std::string& text, const Call& call) {
  const Afterwards afterwards(call);
  Steps steps;
  steps.attempt("status", "", [&] {
    services.cluster.patch_status(
        location.ref, crd::init_failed_status(location.generation, text, services.clock.now()),
        afterwards.call());
  });
  steps.attempt("event", "", [&] {
    services.cluster.post_event(location.ref, crd::init_failed(text),
                                component_of(services, location), afterwards.call());
  });
  steps.warn();
}

void publish_success(const Services& services, const crd::Location& location, InitReport& report,
                     const Call& call) {
  const Afterwards afterwards(call);
  const std::string retry = "kubectl kubedr init " + location.ref.name + " --if-needed";
  Steps steps;
  steps.attempt("status", retry, [&] {
    services.cluster.patch_status(
        location.ref, crd::init_completed_status(location.generation, services.clock.now()),
        afterwards.call());
  });
  steps.attempt("annotation", retry, [&] {
    services.cluster.annotate(location.ref, crd::kInitializedAnnotation, "true", afterwards.call());
  });
  steps.attempt("event", retry, [&] {
    services.cluster.post_event(location.ref, crd::init_succeeded(report.repository_url),
                                component_of(services, location), afterwards.call());
  });
  report.failed_steps = steps.failed();
}

}  // namespace

InitReport init(const Services& services, const InitRequest& request, const Call& call) {
  const crd::Location location = request.url.empty()
                                     ? choose_location(services, request.location, call)
                                     : apply_location(services, request, call);
  if (!request.force && services.cluster.operator_runs(call) == true) {
    return wait_for_operator(services, location, call);
  }
  const std::string url = services.repository_url(location);
  crd::InitStage stage = crd::InitStage::repository;
  try {
    // A repository that is there and open needs no Initializing in between: nobody should see a
    // healthy location waver.
    if (!request.if_needed) {
      services.cluster.patch_status(
          location.ref, crd::initializing_status(location.generation, services.clock.now()), call);
    }
    InitReport report = make_repository(services, request, location, stage, call);
    const bool published =
        location.status.init_status == "Completed" && location.initialized_annotation;
    if (report.created || !published) publish_success(services, location, report, call);
    return report;
  } catch (const Error& error) {
    const std::string text = published_text(stage, url, error);
    publish_failure(services, location, text, call);
    if (error.kind() != ErrorKind::exists) throw;
    throw Error(ErrorKind::exists, std::string(trim(text)),
                "nothing was changed; a repository that is already yours needs no init "
                "(--if-needed makes this a success)");
  } catch (const std::exception& error) {
    publish_failure(services, location, crd::init_fatal(stage, url, error.what()), call);
    throw;
  }
}

}  // namespace kubedr::workflow
