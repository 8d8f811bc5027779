# One image for every process of Stockroom: nodes, gateways and tools. Which one runs is the command's affair
# (docker-compose.yml). Its process is node itself, without a shell in between, so SIGTERM arrives where it is handled.
FROM node:24-slim

# The RocksDB binding needs libatomic, which slim images lack.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libatomic1 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && npm cache clean --force
COPY . .

# A volume mounted here starts with this owner.
RUN install -d -o node -g node /data

USER node
ENV NODE_ENV=production
ENTRYPOINT []
CMD ["node", "--import", "tsx", "start.ts"]
