/* Key files of a configuration, read as workers will read them. Opens no file. */
#include "common/jwt/jwt_check.h"

#include "common/base/hash.h"
#include "common/jwt/jwt.h"

static void check_file(const struct conf_route *route, const struct conf_file *file,
                       struct smap *done, struct report *report)
{
    struct jwt_keys *keys;
    char why[JWT_WHY_MAX];

    if (!file->content.p || smap_get(done, slice_str(file->path)))
        return; /* it could not be read, which is told; or it was seen */
    (void)smap_put(done, slice_str(file->path), (void *)(uintptr_t)file);
    keys = jwt_keys_new();
    if (!jwt_keys_add(keys, file->content, why))
        report_error_at(report, conf_place(&file->origin), "[%s %s] jwt_key: '%s': %s",
                        *route->name ? "route" : "defaults", *route->name ? route->name : "route",
                        file->path, why);
    jwt_keys_free(&keys);
}

static void check_route(const struct conf_route *route, struct smap *done, struct report *report)
{
    for (size_t i = 0; i < route->jwt_key.n; i++)
        check_file(route, &route->jwt_key.v[i], done, report);
}

void jwt_check(const struct conf *conf, struct report *report)
{
    struct smap done;

    smap_init(&done, false);
    for (size_t i = 0; i < conf->nroutes; i++)
        check_route(&conf->routes[i], &done, report);
    check_route(&conf->route_defaults, &done, report);
    smap_fini(&done);
}
