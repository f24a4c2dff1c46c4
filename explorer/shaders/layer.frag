#version 330 core

uniform sampler2DArray u_image;

in vec3 v_uvw;
flat in float v_alpha;

out vec4 out_color;

void main() {
    // No mipmaps: level 0 by name spares the derivatives (a third of the time on a software driver).
    out_color = vec4(textureLod(u_image, v_uvw, 0.0).rgb, v_alpha);
}
