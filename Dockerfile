# The `layerswarm` command on a base with no shell, run by a user that is not root. A stage builds it from the sources, with
# packages from npm; --build-arg PREBUILT=yes takes what `npm run build` has made here, and needs none.
FROM node:24-slim AS build
WORKDIR /src
COPY . .
ARG PREBUILT=no
RUN if [ "$PREBUILT" = no ]; then npm ci --ignore-scripts && node scripts/build.ts; fi
# Without a shell there is no env to find Node for a script.
RUN mkdir -p /out/opt/layerswarm /out/usr/local/bin /out/var/lib/layerswarm \
  && cp -r LICENSE packages/cli/package.json packages/cli/bin packages/cli/dist /out/opt/layerswarm/ \
  && sed -i '1s,.*,#!/usr/local/bin/node,' /out/opt/layerswarm/bin/layerswarm.js \
  && ln -s /opt/layerswarm/bin/layerswarm.js /out/usr/local/bin/layerswarm

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="layerswarm" \
  org.opencontainers.image.description="Container images for a fleet of hosts: peers first, the registry last" \
  org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=build /out/opt /opt
COPY --from=build /out/usr/local/bin/ /usr/local/bin/
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/var/lib/layerswarm /var/lib/layerswarm
# Data lies in /var/lib/layerswarm then, unless the configuration says otherwise.
ENV XDG_DATA_HOME=/var/lib
VOLUME /var/lib/layerswarm
USER 65532:65532
# Mirror, local API, peers; of a tracker: agents, HTTP.
EXPOSE 5050 5051 5052 5060 5061
ENTRYPOINT ["layerswarm"]
CMD ["--help"]
