#include "workflow/init.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "crd/wording.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

crd::Location create_location(const Services& services, const InitRequest& request,
                              const Call& call) {
  if (request.location.empty() || request.bucket.empty() || request.credentials.empty()) {
    throw Error(ErrorKind::usage, "init: --url goes with a NAME, --bucket and --credentials");
  }
  const Json object = {
      {"apiVersion", crd::kApiVersion},
      {"kind", crd::kind_name(crd::Kind::location)},
      {"metadata", {{"name", request.location}, {"namespace", services.cluster.name_space()}}},
      {"spec",
       {{"url", request.url},
        {"bucketName", request.bucket},
        {"credentials", request.credentials}}}};
  services.cluster.apply(object, call);
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

InitReport make_repository(const Services& services, const InitRequest& request,
                           const crd::Location& location, const Call& call) {
  const OpenedStore opened = open_store(services, location, call);
  const std::string& url = opened.store->location();
  const auto open = [&] {
    return describe(location, url,
                    repo::Repository::open(*opened.store, opened.password, services.random, call),
                    false);
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
  if (opened.store->create(call)) log::info("{}: created", url);
  const repo::InitRequest init_request{opened.password, request.version, services.owner.username,
                                       services.owner.hostname};
  try {
    return describe(location, url,
                    repo::Repository::init(*opened.store, init_request, services.random, call),
                    true);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::exists || !request.if_needed) throw;
    return open();  // made by somebody else meanwhile, or another password's
  }
}

std::string component_of(const Services& services, const crd::Location& location) {
  return services.pod_name.empty() ? location.ref.name + "-init-pod" : services.pod_name;
}

// What operator mode would have shown: restic's text on stderr.
std::string published_text(const std::string& url, const Error& error) {
  if (error.kind() == ErrorKind::exists) return crd::already_initialized(url);
  return crd::init_fatal(url, error.what());
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
                                     : create_location(services, request, call);
  const std::string url = services.repository_url(location);
  try {
    // A repository that is there and open needs no Initializing in between: nobody should see a
    // healthy location waver.
    if (!request.if_needed) {
      services.cluster.patch_status(
          location.ref, crd::initializing_status(location.generation, services.clock.now()), call);
    }
    InitReport report = make_repository(services, request, location, call);
    const bool published =
        location.status.init_status == "Completed" && location.initialized_annotation;
    if (report.created || !published) publish_success(services, location, report, call);
    return report;
  } catch (const Error& error) {
    const std::string text = published_text(url, error);
    publish_failure(services, location, text, call);
    if (error.kind() != ErrorKind::exists) throw;
    throw Error(ErrorKind::exists, std::string(trim(text)),
                "nothing was changed; a repository that is already yours needs no init "
                "(--if-needed makes this a success)");
  }
}

}  // namespace kubedr::workflow
